"""Descent on ½‖∇L‖²: the plainest way that does not care for the index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from thalweg.critical._ground import Ground, Place
from thalweg.critical._solver import Solver, Stride


@dataclass(frozen=True)
class GradientNormDescent(Solver):
    """θ ← θ − η H∇L with η by backtracking: gradient descent on ½‖∇L‖².

    Args:
        lr: η at first [param⁴/loss²]; it doubles after each step that was taken at once.

    Example:
        >>> GradientNormDescent().name
        'gradient-norm descent'

    Source: McIver and Komornicki 1972; Pennington and Bahri 2017, "Geometry of neural network loss
    surfaces via random matrix theory", section 5; backtracking as Frye et al. 2021.
    """

    lr: float = 1e-2

    @property
    def name(self) -> str:
        """The method in words."""
        return "gradient-norm descent"

    def walk(self, ground: Ground, start: Place) -> Iterator[Stride]:
        """The accepted steps."""
        place, lr = start, self.lr
        while True:
            d = ground.hessian(place) @ place.gradient
            square = float(d @ d)
            first = lr
            for _ in range(60):
                there = ground.at(place.vector - lr * d)
                fall = place.slope**2 - there.slope**2
                if isfinite(there.slope) and fall >= 0.2 * lr * square:
                    break
                lr /= 2
            else:
                yield Stride(place, stuck="no step down ‖∇L‖² shortens the gradient")
                return
            place = there
            yield Stride(place)
            if lr == first:
                lr *= 2
