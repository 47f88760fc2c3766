"""Functions φ_k of −τH times a vector, from a Krylov space that grows until they are known."""

from __future__ import annotations

from math import inf, log

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
_TRUSTED = 0.5
"""The share of the products foretold that is taken at once: convergence grows faster."""


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
        self._looked = (0, inf)

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
            self.extend(self.ahead(error, tol), most)

    def ahead(self, error: float, wanted: float) -> int:
        """How many products to take before the error is looked at again.

        As many as half the way to `wanted` takes at the pace since the last look, and a share of m
        at most: so few are taken in vain.
        """
        most = max(2, int(_GROW_BY * self.size))
        (size, before), self._looked = self._looked, (self.size, error)
        if not (0 < size < self.size and 0 < wanted < error < before < inf):
            return most
        pace = log(before / error) / (self.size - size)
        return max(1, min(most, int(_TRUSTED * log(error / wanted) / pace)))

    def extend(self, products: int, most: int) -> None:
        """Takes so many products, and `most` in all."""
        if self._run is not None:
            self._run.extend(min(products, most - self.size))
            self._diagonalise()

    def error(self, time: float, index: int) -> float:
        """An estimate of the error of τ φ_index(−τH) v.

        ‖v‖ τ · τ β_m |e_mᵀ φ_{index+1}(−τT) e₁|: the first term of the error's series (Saad 1992,
        "Analysis of some Krylov subspace approximations", thm 5.1).
        """
        if self._run is None:
            return 0.0
        return truncation(self.values, self.residues, time, index) if self.size else inf

    @property
    def residues(self) -> NDArray[np.float64]:
        """‖v‖ β_m (e_mᵀsᵢ)(sᵢᵀe₁) of each Ritz vector: what H does to it beyond the space."""
        if self._run is None or self._run.is_invariant:
            return np.zeros_like(self.values)
        found: NDArray[np.float64] = (
            self.length * self._run.betas[-1] * self._vectors[-1] * self._vectors[0]
        )
        return found

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


def truncation(
    rates: NDArray[np.float64], residues: NDArray[np.float64], time: float, index: int
) -> float:
    """τ² |Σ ρᵢ φ_{index+1}(−τλᵢ)|; see `KrylovSpace.error`."""
    return time * time * abs(float(residues @ phi(-time * rates, index + 1)[index + 1]))
