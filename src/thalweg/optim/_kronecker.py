"""Kronecker: a positive definite block R ⊗ C through the roots of its factors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


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
        root = self.inverse if is_inverse else self.power
        return root[..., None] * W if root.ndim == 2 else root @ W

    def from_right(self, W: Float[Tensor, "g r s"], is_inverse: bool) -> Float[Tensor, "g r s"]:
        """W M^{±½}."""
        root = self.inverse if is_inverse else self.power
        return W * root[:, None] if root.ndim == 2 else W @ root


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
