"""Eigenbasis: a Hessian taken apart once, so that every step length is free."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.linalg import SymmetricOperator, lanczos


@dataclass(frozen=True, eq=False)
class Eigenbasis:
    """H ≈ V diag(λ) Vᵀ: all of it, or its restriction to a Krylov space.

    Args:
        values: λ (m,), ascending [loss/param²].
        vectors: V (n, m), orthonormal columns.
        is_whole: whether m = n.
    """

    values: Float[Tensor, " m"]
    vectors: Float[Tensor, "n m"]
    is_whole: bool

    @classmethod
    def whole(cls, matrix: Float[Tensor, "n n"]) -> Eigenbasis:
        """Of a dense matrix, made symmetric to the last bit."""
        values, vectors = torch.linalg.eigh((matrix + matrix.T) / 2)
        return cls(values, vectors, True)

    @classmethod
    def krylov(
        cls, op: SymmetricOperator, start: Float[Tensor, " n"], num_steps: int
    ) -> Eigenbasis:
        """The Ritz pairs of a Krylov space of `start`; num_steps products."""
        run = lanczos(op, start, min(num_steps, op.size))
        m = len(run.alphas)
        T = torch.diag(run.alphas)
        if m > 1:
            T = T + torch.diag(run.betas[: m - 1], 1) + torch.diag(run.betas[: m - 1], -1)
        values, turned = torch.linalg.eigh(T)
        return cls(values, run.basis @ turned, m == op.size)

    @property
    def largest(self) -> float:
        """max|λ| [loss/param²]."""
        return float(self.values.abs().max())

    @property
    def frobenius(self) -> float:
        """‖H‖_F, of the part that is known [loss/param²]."""
        return float(self.values.norm())

    @property
    def rounding(self) -> float:
        """What n roundings may move an eigenvalue by [loss/param²]."""
        n = self.vectors.shape[0]
        return n * torch.finfo(self.values.dtype).eps * self.largest

    def inside(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " m"]:
        """Vᵀv."""
        return self.vectors.T @ vector

    def outside(self, coefficients: Float[Tensor, " m"]) -> Float[Tensor, " n"]:
        """V c."""
        return self.vectors @ coefficients
