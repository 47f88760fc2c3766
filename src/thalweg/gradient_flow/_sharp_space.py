"""The sharp directions of a Hessian: a first look by Lanczos, then what the steps show."""

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

_NEW = 1e-8
"""A vector of which a smaller share lies outside of a basis is taken to lie in it."""


@dataclass(frozen=True, eq=False)
class SharpSpace:
    """A = V Λ Vᵀ, a model of H in the directions that matter; V = QS.

    S is kept apart from Q so that a correction is cheap: two columns more, no n × k × k product.
    A corrected space goes on in the store of the one before, behind the rows that this one looks
    at; so each is corrected once.

    Args:
        store: room for vectors of a basis as rows; the first m are Qᵀ.
        rotation: S, orthonormal columns.
        values: λ, largest magnitude first [loss/param²].
    """

    store: Float[Tensor, "r n"]
    rotation: NDArray[np.float64]
    values: NDArray[np.float64]

    @property
    def basis(self) -> Float[Tensor, "n m"]:
        """Q, orthonormal columns."""
        return self.store[: len(self.rotation)].T

    def coordinates(self, columns: Float[Tensor, "n *c"]) -> NDArray[np.float64]:
        """Vᵀ X."""
        found: NDArray[np.float64] = self.rotation.T @ _seen(self.basis.T @ columns)
        return found

    def lifted(self, coordinates: NDArray[np.float64]) -> Float[Tensor, " n"]:
        """V c."""
        return self.basis @ self.basis.new_tensor(self.rotation @ coordinates)

    def multiplied(self, vector: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """V Λ Vᵀ x."""
        return self.lifted(self.values * self.coordinates(vector))

    def corrected(
        self, moved: Float[Tensor, " n"], change: Float[Tensor, " n"], most: int
    ) -> SharpSpace:
        """The nearest symmetric A₊ with A₊ s = y, in Frobenius norm; of it the sharpest directions.

            A₊ = A + (u sᵀ + s uᵀ)/sᵀs − (sᵀu) s sᵀ/(sᵀs)²,   u = y − A s

        Args:
            moved: s = θ₂ − θ₁.
            change: y = ∇L(θ₂) − ∇L(θ₁) ≈ H s.
            most: directions in all.

        Cost: no gradient; O(n k + k³).

        Source: Powell 1970, "A new algorithm for unconstrained optimization", the symmetric form of
        Broyden's update.
        """
        length = torch.linalg.vector_norm(moved)
        s, y = moved / length, change / length
        store, count = self.store, len(self.rotation)
        pair = (s, y - self.multiplied(s))
        for vector in pair:
            store, count = _with(store, count, vector)
        along, missed = (_seen(store[:count] @ vector) for vector in pair)
        rotation = np.zeros((count, len(self.values)))
        rotation[: len(self.rotation)] = self.rotation
        A = (rotation * self.values) @ rotation.T
        A += np.outer(missed, along) + np.outer(along, missed)
        A -= (along @ missed) * np.outer(along, along)
        values, S = np.linalg.eigh(A)
        order = np.argsort(-np.abs(values))
        values, S = values[order], S[:, order]
        if count <= most:
            return SharpSpace(store, S, values)
        # Room for corrections to come: the basis is turned and cut once in many of them.
        kept = max(1, most - most // 8)
        turned = torch.empty_like(store)
        turned[:kept] = store.new_tensor(S[:, :kept]).T @ store[:count]
        return SharpSpace(turned, np.eye(kept), values[:kept])


def sharp_space(
    hessian: SymmetricOperator,
    num_products: int,
    slope: Float[Tensor, " n"],
    generator: torch.Generator,
) -> tuple[SharpSpace, float]:
    """Clear Ritz pairs of a Lanczos run, and an estimate of ‖H − V Λ Vᵀ‖ [loss/param²].

    Args:
        hessian: H.
        num_products: Lanczos steps.
        slope: the gradient, which the flow goes along.
        generator: for a random part, so that nothing is orthogonal to the start.

    Cost: `num_products` products.
    """
    noise = torch.randn(len(slope), generator=generator, dtype=slope.dtype).to(slope.device)
    start = _unit(noise) + _unit(slope)
    if not bool(torch.linalg.vector_norm(start) > 1e-3):
        start = noise  # in one dimension the parts may cancel
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
    return SharpSpace(run.basis.T, S[:, kept], values[kept]), rest


def _with(
    store: Float[Tensor, "r n"], count: int, vector: Float[Tensor, " n"]
) -> tuple[Tensor, int]:
    """The store with what a vector adds to its first `count` rows, and how many they are then."""
    Q = store[:count]
    rest = vector - (Q @ vector) @ Q
    size = torch.linalg.vector_norm(rest)
    if not bool(size > _NEW * torch.linalg.vector_norm(vector)):
        return store, count
    rest = rest / size
    rest = rest - (Q @ rest) @ Q  # what rounding left of the basis
    if count == len(store):
        store = torch.cat([store, torch.empty_like(store[: max(count, 8)])])
    store[count] = _unit(rest)
    return store, count + 1


def _seen(values: Tensor) -> NDArray[np.float64]:
    found: NDArray[np.float64] = values.double().cpu().numpy()
    return found


def _unit(vector: Tensor) -> Tensor:
    length = torch.linalg.vector_norm(vector)
    return vector / length if bool(length > 0) else vector
