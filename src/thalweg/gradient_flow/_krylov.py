"""Functions φ_k of −τH times a vector, from a Krylov space that grows until they are known."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from thalweg.gradient_flow._phi import phi
from thalweg.linalg import SymmetricOperator
from thalweg.linalg._counted import CountedOperator

# A run that can be extended: `lanczos` alone would begin again for each look at the error.
from thalweg.linalg._lanczos import LanczosRun

_GROW_BY = 0.15


class KrylovSpace:
    """K_m(H, v), and φ_k(−τH) v in it.

        φ_k(−τH) v ≈ ‖v‖ Q φ_k(−τT) e₁

    Args:
        op: H.
        vector: v (n,).

    Source: Hochbruck and Lubich 1997, "On Krylov subspace approximations to the matrix exponential
    operator". The basis is made orthogonal twice, as in `lanczos`.
    """

    def __init__(self, op: SymmetricOperator, vector: Float[Tensor, " n"]) -> None:
        self.length = float(torch.linalg.vector_norm(vector))
        self._run = LanczosRun(CountedOperator(op, "flow"), vector) if self.length > 0 else None
        self.values = np.zeros(0)
        self._vectors = np.zeros((0, 0))
        self._like = vector

    @property
    def size(self) -> int:
        """m, the products taken."""
        return 0 if self._run is None else self._run.num_steps

    @property
    def is_invariant(self) -> bool:
        """Every function of H times v lies in it, to rounding."""
        return self._run is None or self._run.is_invariant

    @property
    def basis(self) -> Float[Tensor, "n m"]:
        """Q."""
        if self._run is None:
            return self._like.new_zeros(len(self._like), 0)
        return self._run.basis.to_tensor()

    def grow(self, time: float, index: int, tol: float, most: int) -> float:
        """Takes products until ‖τ φ_index(−τH) v‖ is known to `tol`, or `most` are taken.

        Returns:
            The estimate of its error. [v's unit · time]
        """
        while True:
            error = self.error(time, index)
            if error <= tol or self._run is None or self.is_invariant or self.size >= most:
                return error
            more = max(2, int(_GROW_BY * self.size))
            self._run.extend(min(more, most - self.size))
            self._diagonalise()

    def error(self, time: float, index: int) -> float:
        """An estimate of the error of τ φ_index(−τH) v.

        ‖v‖ τ · τ β_m |e_mᵀ φ_{index+1}(−τT) e₁|: the first term of the error's series (Saad 1992,
        "Analysis of some Krylov subspace approximations", thm 5.1).
        """
        if self._run is None:
            return 0.0
        if not self.size:
            return float("inf")
        if self._run.is_invariant:
            return 0.0
        z = -time * self.values
        S = self._vectors
        last = abs(float(S[-1] @ (phi(z, index + 1)[index + 1] * S[0])))
        return self.length * time * time * self._run.betas[-1] * last

    def residual(self) -> float:
        """‖H x − v‖ of the x in the space that H⁻¹v is approximated by: ‖v‖ β_m |e_mᵀT⁻¹e₁|."""
        if self._run is None or self._run.is_invariant:
            return 0.0
        last = float(self._vectors[-1] @ (self._vectors[0] / self.values))
        return self.length * self._run.betas[-1] * abs(last)

    def modes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The coordinates of v along the Ritz vectors, and their values."""
        if not self.size:
            return np.zeros(0), np.zeros(0)
        return self.length * self._vectors[0], self.values

    def coordinates(self, along_modes: NDArray[np.float64]) -> NDArray[np.float64]:
        """From coordinates along the Ritz vectors to those along Q."""
        found: NDArray[np.float64] = self._vectors @ along_modes
        return found

    def _diagonalise(self) -> None:
        assert self._run is not None
        a, b = np.array(self._run.alphas), np.array(self._run.betas[:-1])
        self.values, self._vectors = np.linalg.eigh(np.diag(a) + np.diag(b, 1) + np.diag(b, -1))
