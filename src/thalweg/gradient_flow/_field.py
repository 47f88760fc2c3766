"""The field −∇L that a flow follows, and what was evaluated of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from jaxtyping import Float
from torch import Tensor

from thalweg._errors import NonFiniteError
from thalweg.linalg import LinearOperator, SymmetricOperator
from thalweg.surface import Point, Surface


@dataclass(frozen=True)
class Cost:
    """What was evaluated, counted.

    Args:
        num_gradients: gradients of all data, those that a Hessian's graph is built with included.
        num_products: products with the Hessian.
        products_in_gradients: what the products cost, in gradients.
    """

    num_gradients: int = 0
    num_products: int = 0
    products_in_gradients: float = 0.0

    @property
    def gradient_equivalents(self) -> float:
        """All of it in gradients: a product counts 2 where the graph is kept, 3 where not."""
        return self.num_gradients + self.products_in_gradients


class Tally:
    """What has been evaluated so far."""

    def __init__(self) -> None:
        self.num_gradients = 0
        self.num_products = 0
        self.products_in_gradients = 0.0

    @property
    def cost(self) -> Cost:
        """The count as it stands."""
        return Cost(self.num_gradients, self.num_products, self.products_in_gradients)

    @property
    def gradient_equivalents(self) -> float:
        """All of it in gradients."""
        return self.cost.gradient_equivalents


@dataclass(frozen=True, eq=False)
class Place:
    """A point that the flow came to.

    Args:
        vector: θ.
        value: L(θ) [loss].
        gradient: ∇L(θ) [loss/param].
        point: of the surface, for its curvature.
    """

    vector: Float[Tensor, " n"]
    value: float
    gradient: Float[Tensor, " n"]
    point: Point


class Field:
    """θ ↦ −∇L(θ) of a surface, counting.

    Args:
        surface: what L is.
        tally: where evaluations are counted; a new count where left out.
    """

    def __init__(self, surface: Surface, tally: Tally | None = None) -> None:
        self.surface = surface
        self.tally = Tally() if tally is None else tally

    def at(self, vector: Float[Tensor, " n"]) -> Place:
        """Value and gradient there, for one gradient.

        Raises:
            NonFiniteError: if either is NaN or infinite.
        """
        self.tally.num_gradients += 1
        point = self.surface.at(vector)
        gradient = point.gradient_vector
        place = Place(vector, point.value, gradient, point)
        if not (isfinite(place.value) and bool(gradient.isfinite().all())):
            raise NonFiniteError("the loss or its gradient is not finite on the way")
        return place

    def hessian(self, place: Place) -> SymmetricOperator:
        """∇²L there, for one gradient more; its products are counted."""
        self.tally.num_gradients += 1
        return CountedHessian(place.point, self.tally)

    def counting(self, tally: Tally) -> Field:
        """The same field on another account."""
        return Field(self.surface, tally)


class CountedHessian(SymmetricOperator):
    """∇²L at a point, whose products go on an account."""

    def __init__(self, point: Point, tally: Tally) -> None:
        layout = point.layout
        super().__init__(layout.size, layout.dtype, layout.device)
        self._op, self._tally = point.hessian(), tally

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        self._tally.num_products += V.shape[1]
        self._tally.products_in_gradients += V.shape[1] * self._op.gradients_per_product
        return self._op @ V
