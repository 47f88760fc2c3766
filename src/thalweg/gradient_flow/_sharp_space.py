"""The sharp directions of a Hessian, as far as a few Lanczos steps show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from thalweg.linalg import SymmetricOperator, lanczos

CLEAR = 0.3
"""A Ritz pair whose residual is a larger share of its value is left out."""


@dataclass(frozen=True, eq=False)
class SharpSpace:
    """V and Λ with H ≈ V Λ Vᵀ + what is not sharp.

    Args:
        vectors: V, orthonormal columns.
        values: λ, largest magnitude first [loss/param²].
        residuals: ‖H v − λ v‖ [loss/param²].
        rest: an estimate of ‖H − V Λ Vᵀ‖ [loss/param²].
        sharpness: the largest Ritz value: λ_max from below [loss/param²].
    """

    vectors: Float[Tensor, "n k"]
    values: NDArray[np.float64]
    residuals: NDArray[np.float64]
    rest: float
    sharpness: float

    def coordinates(self, columns: Float[Tensor, "n m"]) -> NDArray[np.float64]:
        """Vᵀ X."""
        found: NDArray[np.float64] = (self.vectors.T @ columns).double().cpu().numpy()
        return found

    def lifted(self, coordinates: NDArray[np.float64]) -> Float[Tensor, " n"]:
        """V c."""
        return self.vectors @ self.vectors.new_tensor(coordinates)

    def multiplied(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """V Λ Vᵀ x."""
        return self.vectors @ (self.vectors.new_tensor(self.values) * (self.vectors.T @ vector))


def sharp_space(
    hessian: SymmetricOperator,
    num_products: int,
    slope: Float[Tensor, " n"],
    former: SharpSpace | None,
    direction: Float[Tensor, " n"] | None,
    generator: torch.Generator,
) -> SharpSpace:
    """Ritz pairs of a Lanczos run from all that is known to be sharp, put together.

    Args:
        hessian: H.
        num_products: Lanczos steps.
        slope: the gradient, which the flow goes along.
        former: what was sharp before.
        direction: one that was found to be sharp besides.
        generator: for a random part, so that nothing is orthogonal to the start.

    Cost: `num_products` products.
    """
    noise = torch.randn(len(slope), generator=generator, dtype=slope.dtype).to(slope.device)
    start = _unit(noise) + _unit(slope)
    if former is not None and len(former.values):
        start = start + former.vectors.sum(1)
    if direction is not None:
        start = start + direction
    if not bool(torch.linalg.vector_norm(start) > 1e-3):
        start = noise  # in few dimensions the parts may cancel
    run = lanczos(hessian, start, min(num_products, hessian.size))
    alphas, betas = run.alphas.double().cpu().numpy(), run.betas.double().cpu().numpy()
    T = np.diag(alphas) + np.diag(betas[:-1], 1) + np.diag(betas[:-1], -1)
    values, S = np.linalg.eigh(T)
    residuals = np.abs(S[-1]) * betas[-1]
    is_clear = residuals <= CLEAR * np.abs(values) + 1e-300
    kept = np.flatnonzero(is_clear)
    kept = kept[np.argsort(-np.abs(values[kept]))]
    dropped = np.abs(values[~is_clear])
    rest = max(float(dropped.max(initial=0.0)), float(residuals[kept].max(initial=0.0)))
    if run.is_invariant and run.num_products == hessian.size:
        rest = 0.0
    return SharpSpace(
        run.basis @ run.basis.new_tensor(S[:, kept]),
        values[kept],
        residuals[kept],
        rest,
        float(values.max()),
    )


def _unit(vector: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(vector)
    return vector / length if bool(length > 0) else vector
