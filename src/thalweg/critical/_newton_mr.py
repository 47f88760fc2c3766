"""Newton-MR: the least residual step, with a line search on ‖∇L‖²."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from thalweg.critical._ground import Ground, Place
from thalweg.critical._solver import Solver, Stride
from thalweg.linalg import least_residual


@dataclass(frozen=True)
class NewtonMR(Solver):
    """p = −H⁺∇L to a tolerance, then the largest α of 1, ½, … that lowers ‖∇L‖² enough.

        ‖∇L(θ + αp)‖² ≤ ‖∇L‖² + 2ρα ∇Lᵀ H p

    Args:
        inexactness: the residual, as a share of the gradient, at which the step is good enough.
        max_products: of one step.

    Example:
        >>> NewtonMR().name
        'Newton-MR'

    Source: Roosta, Liu, Xu and Mahoney 2018, "Newton-MR: inexact Newton method with minimum
    residual sub-problem solver", algorithm 1; the step of MINRES-QLP by `linalg.least_residual`.
    """

    inexactness: float = 1e-4
    max_products: int = 200

    @property
    def name(self) -> str:
        """The method in words."""
        return "Newton-MR"

    def walk(self, ground: Ground, start: Place) -> Iterator[Stride]:
        """The accepted steps."""
        place = start
        while True:
            H = ground.hessian(place)
            g = place.gradient
            p = least_residual(
                H, -g, num_steps=min(self.max_products, ground.size), tol=self.inexactness
            ).x
            rate = 2e-4 * float(g @ (H @ p))
            there = searched(ground, place, p, rate)
            if there is None:
                yield Stride(place, stuck="no step along Newton's direction shortens the gradient")
                return
            place = there
            yield Stride(place)


def searched(ground: Ground, place: Place, p: object, rate: float) -> Place | None:
    """The first of θ + p, θ + p/2, … whose ‖∇L‖² fell by α·rate; None if none of 40 did."""
    alpha = 1.0
    for _ in range(40):
        there = ground.at(place.vector + alpha * p)  # type: ignore[operator]
        if isfinite(there.slope) and there.slope**2 <= place.slope**2 + alpha * rate:
            return there
        alpha /= 2
    return None
