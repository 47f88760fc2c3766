"""A loss as foreign minimisers see it: one vector in, value and derivatives out."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim import ProblemObjective
from thalweg.race._course import FORWARD, Course
from thalweg.surface import HESSIAN

NUM_KEPT = 2
"""Places whose products are kept: a step that is refused goes on from the one before."""


class FlatLoss:
    """The loss of all training data as a function of one vector, counted on a course.

    A value costs a forward pass, a gradient a gradient with the products' preparation, a product
    two gradients, as for our own methods.

    Args:
        course: what is run; its model is moved to wherever it is asked about.
    """

    def __init__(self, course: Course) -> None:
        course.take_all()
        self._course = course
        self._objective = ProblemObjective(course.here, course.params, 1.0)
        self._kept: list[tuple[Tensor, Callable[[Tensor], Tensor]]] = []
        self._is_first = True

    def here(self) -> Float[Tensor, " n"]:
        """Where the model is."""
        return torch.cat([p.detach().reshape(-1) for p in self._course.params])

    def put(self, x: Float[Tensor, " n"]) -> None:
        """Moves the model."""
        pieces = x.split([p.numel() for p in self._course.params])
        for p, piece in zip(self._course.params, pieces, strict=True):
            # Through .data: the graphs of places that are kept find their values again.
            p.data.copy_(piece.view_as(p))

    def value(self, x: Float[Tensor, " n"]) -> float:
        """L(x)."""
        self.put(x)
        loss = self._objective.value()
        self._course.spend(FORWARD)
        self._see(loss)
        return loss

    def gradient(
        self, x: Float[Tensor, " n"], *, has_products: bool = True
    ) -> tuple[float, Float[Tensor, " n"]]:
        """L(x) and ∇L(x); `product` may be asked for at x afterwards."""
        self.put(x)
        local = self._objective.local(HESSIAN if has_products else None)
        self._course.spend(1.0)
        if local.product is not None:
            self._kept = [*self._kept[-(NUM_KEPT - 1) :], (x.clone(), local.product)]
        self._see(local.value)
        return local.value, local.gradient

    def product(self, x: Float[Tensor, " n"], v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """H(x) v; a gradient is taken there first, and counted, where none was lately."""
        for place, multiply in reversed(self._kept):
            if torch.equal(place, x):
                self.put(x)
                self._course.spend(HESSIAN.cost)
                return multiply(v)
        self.gradient(x)
        self._course.spend(HESSIAN.cost)
        _, multiply = self._kept[-1]
        return multiply(v)

    def arrived(self, x: Float[Tensor, " n"]) -> None:
        """Tells the course that a step ended at x."""
        self.put(x)
        self._course.stepped()

    def _see(self, loss: float) -> None:
        self._course.seen(loss, is_probe=not self._is_first)
        self._is_first = False
