"""Kronecker: a positive definite block A ⊗ G through the roots of its factors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Kronecker:
    """(A ⊗ G)^{±½} on a weight matrix W (rows, columns): G^{±½} W A^{±½}.

    Args:
        A: A^½ (columns, columns).
        A_inverse: A^{-½}.
        G: G^½ (rows, rows).
        G_inverse: G^{-½}.

    Example:
        >>> import torch
        >>> block = Kronecker.of(4 * torch.eye(2), torch.eye(3), damping=1e-9)
        >>> block.applied(torch.ones(3, 2), is_inverse=True)[0]
        tensor([0.5000, 0.5000])
    """

    A: Float[Tensor, "m m"]
    A_inverse: Float[Tensor, "m m"]
    G: Float[Tensor, "r r"]
    G_inverse: Float[Tensor, "r r"]

    @classmethod
    def of(cls, A: Float[Tensor, "m m"], G: Float[Tensor, "r r"], damping: float) -> Kronecker:
        """The block of two factors, each damped by a share of its mean eigenvalue.

        Args:
            A: the inputs' second moment, positive semidefinite.
            G: the curvature in the outputs, positive semidefinite.
            damping: ε of A + ε (tr A / dim A) I.
        """
        return cls(*_roots(A, damping), *_roots(G, damping))

    @property
    def rows(self) -> int:
        """The number of outputs."""
        return len(self.G)

    def applied(self, W: Float[Tensor, "r m"], is_inverse: bool) -> Float[Tensor, "r m"]:
        """G^{±½} W A^{±½}.

        Args:
            W: a weight matrix.
            is_inverse: whether by the inverse roots.
        """
        if is_inverse:
            return self.G_inverse @ W @ self.A_inverse
        return self.G @ W @ self.A


def _roots(factor: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    # In float64: roots of a factor whose eigenvalues span more than float32 tells apart.
    values, Q = torch.linalg.eigh(factor.double())
    mean = values.mean()
    values = values.clamp_min(0.0) + damping * mean
    root, inverse = (Q * values.sqrt()) @ Q.T, (Q * values.rsqrt()) @ Q.T
    return root.to(factor.dtype), inverse.to(factor.dtype)
