"""Ground: a loss surface in float64 whose gradients and products are counted."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from math import inf

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import NonFiniteError
from thalweg._layout import Layout
from thalweg._problem import Problem
from thalweg.critical._eigenbasis import Eigenbasis
from thalweg.linalg import MatvecOperator, SymmetricOperator
from thalweg.surface import Point, RetainedGraph, Surface

DENSE_UP_TO = 2000
"""n up to which the whole Hessian is taken apart; beyond, a Krylov space of the gradient."""

MOST_OUTPUTS = 4096
"""Numbers that a signature has at most; of more outputs every so many are taken."""


@dataclass(frozen=True, eq=False)
class Place:
    """A point of the ground with what one gradient tells.

    Args:
        point: of the surface.
        value: L [loss].
        gradient: ∇L (n,) [loss/param].
    """

    point: Point
    value: float
    gradient: Float[Tensor, " n"]

    @property
    def vector(self) -> Float[Tensor, " n"]:
        """θ."""
        return self.point.vector

    @property
    def slope(self) -> float:
        """‖∇L‖ [loss/param]."""
        return float(self.gradient.norm())


class Subspace(ABC):
    """Orthonormal coordinates z of some of the directions: θ = B z."""

    @property
    @abstractmethod
    def dimension(self) -> int:
        """The number of coordinates, d."""

    @abstractmethod
    def inside(self, vector: Float[Tensor, "n *k"]) -> Float[Tensor, "d *k"]:
        """Bᵀv."""

    @abstractmethod
    def outside(self, coordinates: Float[Tensor, "d *k"]) -> Float[Tensor, "n *k"]:
        """B z."""


class Ground:
    """A surface on which solvers walk; it counts what they spend.

        L(θ) = loss on the data + ½ c ‖θ‖²

    Products take one route always, since a route chosen by timing would round otherwise from one
    process to the next.

    Args:
        problem: what is searched.
        params: globs for the parameters that move; the others are held.
        weight_decay: c, as in `torch.optim.SGD` [loss/param²].
        dense_up_to: n up to which the whole Hessian is taken.
        krylov_steps: Lanczos steps for larger ones.
    """

    def __init__(
        self,
        problem: Problem,
        params: str | tuple[str, ...] = "*",
        *,
        weight_decay: float = 0.0,
        dense_up_to: int = DENSE_UP_TO,
        krylov_steps: int = 200,
    ) -> None:
        self._surface = Surface(problem, params, dtype=torch.float64)
        self.weight_decay = weight_decay
        self._dense_up_to, self._krylov_steps = dense_up_to, krylov_steps
        self.num_gradients = 0.0
        self.num_hessians = 0

    @property
    def layout(self) -> Layout:
        """Names and shapes of the n parameters."""
        return self._surface.layout

    @property
    def size(self) -> int:
        """N."""
        return self._surface.layout.size

    @property
    def is_dense(self) -> bool:
        """Whether the whole Hessian is taken apart."""
        return self.size <= self._dense_up_to

    def here(self) -> Place:
        """Where the model is."""
        return self._read(self._surface.here())

    def at(self, vector: Float[Tensor, " n"]) -> Place:
        """Loss and gradient at θ, infinite where the loss is not finite; one gradient."""
        point = self._surface.at(vector)
        try:
            return self._read(point)
        except NonFiniteError:
            return Place(point, inf, torch.full_like(point.vector, inf))

    def _read(self, point: Point) -> Place:
        self.num_gradients += 1
        vector, decay = point.vector, self.weight_decay
        value = point.value + decay / 2 * float(vector @ vector)
        return Place(point, value, point.gradient_vector + decay * vector)

    def hessian(self, place: Place) -> SymmetricOperator:
        """H, every product of which is counted."""
        H = place.point.hessian(RetainedGraph())

        def product(v: Tensor) -> Tensor:
            self.num_gradients += H.gradients_per_product
            return H @ v + self.weight_decay * v

        return MatvecOperator(product, self.size, dtype=H.dtype, device=H.device)

    def basis(self, place: Place, within: Subspace | None = None) -> Eigenbasis:
        """The eigenvectors of H, or of what a Krylov space of the gradient holds of it.

        Args:
            place: where.
            within: a subspace; of BᵀHB then, in its coordinates, for d products.
        """
        self.num_hessians += 1
        if within is None and not self.is_dense:
            # Where the gradient is zero to the last bit, any direction serves.
            start = place.gradient if place.slope else torch.ones_like(place.gradient)
            return Eigenbasis.krylov(self.hessian(place), start, self._krylov_steps)
        H = place.point.hessian(RetainedGraph())
        if within is None:
            dense = H.to_dense()
        else:
            blocks = torch.eye(within.dimension, dtype=H.dtype, device=H.device).split(64, dim=1)
            dense = torch.cat([within.inside(H @ within.outside(block)) for block in blocks], 1)
        self.num_gradients += len(dense) * H.gradients_per_product
        dense.diagonal().add_(self.weight_decay)
        return Eigenbasis.whole(dense)

    def signature(self, place: Place) -> Float[Tensor, " s"]:
        """What the network computes there, which no symmetry of its parameters changes.

        The outputs on all batches, thinned out; θ itself where there are fewer outputs than two.
        """
        leaves = place.point.params
        parts = []
        with torch.no_grad():
            for index in range(len(place.point.problem.batches)):
                logits = place.point.forward(leaves, index).logits
                if not isinstance(logits, Tensor):
                    return place.vector
                parts.append(logits.reshape(-1).double())
        self.num_gradients += 1 / 3
        outputs = torch.cat(parts)
        if outputs.numel() < 2:
            return place.vector
        return outputs[:: -(-outputs.numel() // MOST_OUTPUTS)].clone()
