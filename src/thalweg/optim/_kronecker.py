"""Kronecker: a positive definite block R ⊗ C through its factors: its roots, and its inverse."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.tape import product


@dataclass(frozen=True)
class Root:
    """M^{±½} of a positive definite factor M, one for each group; diagonal where so given.

    Args:
        power: M^½ (g, s, s), or its diagonal (g, s).
        inverse: M^{-½}.
    """

    power: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, factor: Tensor, damping: float) -> Root:
        """The roots of M + ε (tr M / s) I.

        Args:
            factor: M (g, s, s) positive semidefinite, or its diagonal (g, s).
            damping: ε.
        """
        if factor.ndim == 2:
            values = factor.double()
            values = values.clamp_min(0.0) + damping * values.mean(-1, keepdim=True)
            return cls(values.sqrt().to(factor.dtype), values.rsqrt().to(factor.dtype))
        # In float64: roots of a factor whose eigenvalues span more than float32 tells apart.
        values, Q = torch.linalg.eigh(factor.double())
        values = values.clamp_min(0.0) + damping * values.mean(-1, keepdim=True)
        power = (Q * values.sqrt()[:, None]) @ Q.mT
        inverse = (Q * values.rsqrt()[:, None]) @ Q.mT
        return cls(power.to(factor.dtype), inverse.to(factor.dtype))

    def from_left(self, W: Float[Tensor, "g s m"], is_inverse: bool) -> Float[Tensor, "g s m"]:
        """M^{±½} W."""
        return from_left(self.inverse if is_inverse else self.power, W)

    def from_right(self, W: Float[Tensor, "g r s"], is_inverse: bool) -> Float[Tensor, "g r s"]:
        """W M^{±½}."""
        return from_right(W, self.inverse if is_inverse else self.power)


@dataclass(frozen=True)
class Kronecker:
    """(R ⊗ C)^{±½} on weight matrices W (g, rows, columns), group by group: R^{±½} W C^{±½}.

    Args:
        rows: the roots of R.
        columns: the roots of C.

    Example:
        >>> import torch
        >>> block = Kronecker.of(torch.eye(3)[None], 4 * torch.eye(2)[None], damping=1e-9)
        >>> block.applied(torch.ones(1, 3, 2), is_inverse=True)[0, 0]
        tensor([0.5000, 0.5000])
    """

    rows: Root
    columns: Root

    @classmethod
    def of(cls, R: Tensor, C: Tensor, damping: float) -> Kronecker:
        """The block of two factors, each damped by a share of its mean eigenvalue.

        Args:
            R: the curvature by rows, (g, r, r) positive semidefinite, or its diagonal (g, r).
            C: that by columns, (g, m, m), or its diagonal (g, m).
            damping: ε of R + ε (tr R / r) I.
        """
        return cls(Root.of(R, damping), Root.of(C, damping))

    def applied(self, W: Float[Tensor, "g r m"], is_inverse: bool) -> Float[Tensor, "g r m"]:
        """R^{±½} W C^{±½}.

        Args:
            W: a weight matrix for each group.
            is_inverse: whether by the inverse roots.
        """
        return self.columns.from_right(self.rows.from_left(W, is_inverse), is_inverse)


@dataclass(frozen=True)
class KroneckerInverse:
    """(R ⊗ C + δ I)⁻¹ by factored damping: W ↦ (R + γ/π I)⁻¹ W (C + πγ I)⁻¹ with γ = √δ.

    With π² = (tr C / m) / (tr R / r) both factors are damped by the same share of their mean
    eigenvalue; (R + γ/π I) ⊗ (C + πγ I) is R ⊗ C + δ I and two terms more.

    Args:
        rows: (R + γ/π I)⁻¹ (g, r, r), or its diagonal (g, r).
        columns: (C + πγ I)⁻¹ (g, m, m), or its diagonal (g, m).

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", §6.3. Cholesky factors in the place of eigenvalues: a tenth of their time.

    Example:
        >>> import torch
        >>> block = KroneckerInverse.of(torch.eye(3)[None], torch.eye(2)[None], shift=1.0)
        >>> block.applied(torch.ones(1, 3, 2))[0, 0]
        tensor([0.2500, 0.2500])
    """

    rows: Tensor
    columns: Tensor

    @classmethod
    def of(cls, R: Tensor, C: Tensor, shift: float) -> KroneckerInverse:
        """The inverse of two factors, damped.

        Args:
            R: the curvature by rows, (g, r, r) positive semidefinite, or its diagonal (g, r).
            C: that by columns, (g, m, m), or its diagonal (g, m).
            shift: δ > 0 [loss/param²].
        """
        of_rows, of_columns = mean_diagonal(R), mean_diagonal(C)
        # A group without curvature in one factor: both are then damped alike.
        pi = (of_columns / of_rows).sqrt().nan_to_num(1.0, 1.0, 1.0).clamp(1e-6, 1e6)
        return cls(inverse(R, shift**0.5 / pi), inverse(C, shift**0.5 * pi))

    def applied(self, W: Float[Tensor, "g r m"]) -> Float[Tensor, "g r m"]:
        """The damped inverse times W.

        Args:
            W: a weight matrix for each group.
        """
        return from_right(from_left(self.rows, W), self.columns)


def from_left(M: Tensor, W: Float[Tensor, "g r s"]) -> Float[Tensor, "g r s"]:
    """M W of (g, r, r), or of its diagonal (g, r)."""
    return M[..., None] * W if M.ndim == 2 else _product(M, W)


def from_right(W: Float[Tensor, "g r s"], M: Tensor) -> Float[Tensor, "g r s"]:
    """W M of (g, s, s), or of its diagonal (g, s)."""
    return W * M[:, None] if M.ndim == 2 else _product(W, M)


def _product(A: Float[Tensor, "g r s"], B: Float[Tensor, "g s m"]) -> Float[Tensor, "g r m"]:
    """A B, group by group; one group by the faster library."""
    return product(A[0], B[0])[None] if len(A) == 1 else A @ B


def mean_diagonal(factor: Tensor) -> Float[Tensor, " g"]:
    """The mean eigenvalue of a factor, group by group."""
    return (factor if factor.ndim == 2 else factor.diagonal(dim1=-2, dim2=-1)).mean(-1)


def inverse(factor: Tensor, shift: Float[Tensor, " g"]) -> Tensor:
    """(M + δ I)⁻¹ of (g, s, s), or of its diagonal (g, s)."""
    if factor.ndim == 2:
        return 1 / (factor + shift[:, None])
    shifted = factor.clone()
    shifted.diagonal(dim1=-2, dim2=-1).add_(shift[:, None])
    L, failed = torch.linalg.cholesky_ex(shifted)
    if not bool(failed.any()):
        found: Tensor = torch.cholesky_inverse(L)
        return found
    # Rounding made an eigenvalue negative that is smaller than the dtype tells from 0.
    values, Q = torch.linalg.eigh(factor.double())
    values = values.clamp_min(0.0) + shift[:, None].double()
    back: Tensor = ((Q / values[:, None]) @ Q.mT).to(factor.dtype)
    return back
