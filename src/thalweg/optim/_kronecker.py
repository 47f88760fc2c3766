"""Kronecker: a positive definite block R ⊗ C through its factors: its root, and its inverse."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.tape import product


class Turn(Enum):
    """What a root L of M = L Lᵀ makes of a vector; in u = Lᵀ s the length of M is Euclid's."""

    WHITEN = "a gradient into u: L⁻¹ g"
    LIFT = "a step out of u: L⁻ᵀ u"
    MEASURE = "a step into u: Lᵀ s"


@dataclass(frozen=True)
class Root:
    """L with L Lᵀ = M of a positive definite factor M, one for each group; diagonal where so given.

    Args:
        factor: L (g, s, s), or its diagonal (g, s).
        inverse: L⁻¹.
    """

    factor: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, M: Tensor, damping: float) -> Root:
        """The Cholesky factor of M + ε (tr M / s) I.

        Any root serves: a method that sees M only by the length of its steps takes the same ones in
        each. This one takes a sixth of the time that eigenvectors do.

        Args:
            M: (g, s, s) positive semidefinite, or its diagonal (g, s).
            damping: ε.
        """
        # In float64: the eigenvalues of a factor span more than float32 tells apart.
        damped = M.to(torch.float64, copy=True)
        diagonal = damped if M.ndim == 2 else damped.diagonal(dim1=-2, dim2=-1)
        floor = damping * diagonal.mean(-1, keepdim=True)
        if M.ndim == 2:
            values = damped.clamp_min_(0.0).add_(floor)
            return cls(values.sqrt().to(M.dtype), values.rsqrt().to(M.dtype))
        diagonal.add_(floor)
        L, failed = torch.linalg.cholesky_ex(damped)
        if not bool(failed.any()):
            unit = torch.eye(M.shape[-1], dtype=L.dtype, device=L.device)
            inverse = torch.linalg.solve_triangular(L, unit.expand_as(L), upper=False)
            return cls(L.to(M.dtype), inverse.to(M.dtype))
        # Rounding made an eigenvalue negative: ε is next to nothing.
        values, Q = torch.linalg.eigh(M.double())
        roots = (values.clamp_min_(0.0) + floor).sqrt()
        return cls(
            ((Q * roots[:, None]) @ Q.mT).to(M.dtype), ((Q / roots[:, None]) @ Q.mT).to(M.dtype)
        )

    def turned(self, turn: Turn) -> Tensor:
        """The matrix that the turn applies from the left, or its diagonal."""
        found = self.factor if turn is Turn.MEASURE else self.inverse
        return found if turn is Turn.WHITEN or found.ndim == 2 else found.mT


@dataclass(frozen=True)
class Kronecker:
    """R ⊗ C on weight matrices W (g, rows, columns), group by group, through its root L_R ⊗ L_C.

    Args:
        rows: the root of R.
        columns: that of C.

    Example:
        >>> import torch
        >>> block = Kronecker.of(torch.eye(3)[None], 4 * torch.eye(2)[None], damping=1e-9)
        >>> block.applied(torch.ones(1, 3, 2), Turn.WHITEN)[0, 0]
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

    def applied(self, W: Float[Tensor, "g r m"], turn: Turn) -> Float[Tensor, "g r m"]:
        """L_R⁻¹ W L_C⁻ᵀ, or as the turn says.

        Args:
            W: a weight matrix for each group.
            turn: what is made of it.
        """
        left, right = self.turned(turn)
        return from_right(from_left(left, W), right)

    def turned(self, turn: Turn) -> tuple[Tensor, Tensor]:
        """What W is multiplied by from the left and from the right, or their diagonals."""
        right = self.columns.turned(turn)
        return self.rows.turned(turn), right if right.ndim == 2 else right.mT


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
    return M[..., None] * W if M.ndim == 2 else product(M, W)


def from_right(W: Float[Tensor, "g r s"], M: Tensor) -> Float[Tensor, "g r s"]:
    """W M of (g, s, s), or of its diagonal (g, s)."""
    return W * M[:, None] if M.ndim == 2 else product(W, M)


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
