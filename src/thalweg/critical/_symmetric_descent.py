"""Descent among equal units: minima where units that begin equal stay equal, of any index."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

from thalweg.critical._ground import Ground, Place
from thalweg.critical._hidden_units import EqualUnits
from thalweg.critical._solver import Solver, Stride
from thalweg.optim import trust_region_step

NEAR = 1e-6
"""The share of the first gradient at which L-BFGS hands over to Newton's steps."""

PATIENCE = 20
"""L-BFGS may cost as much as so many Newton steps."""

ROUNDING = 1e-12
"""A predicted decrease below this share of the loss is not to be seen in it."""

SMALLEST = 1e-13
"""The radius, as a share of ‖θ‖, below which no step is taken."""


NAME = "descent among equal units"


@dataclass(frozen=True)
class SymmetricDescent(Solver):
    """The least loss with the units equal that are so at the start: L-BFGS, then trust region.

        min L(B z) over z ∈ ℝᵈ

    The gradient at equal units is that of equal units, so that the minimum is a critical point of
    the whole network. It is a saddle there as soon as pulling equal units apart pays: its index is
    the number of directions in which it does. Where no units are equal, it ends in minima. What it
    finds is a part of all critical points: those that a smaller network has as minima.

    Args:
        radius: of the first Newton step, as a share of max(‖θ‖, 1).

    Cost: some hundred gradients, then some steps of d products each.

    Example:
        >>> SymmetricDescent().name
        'descent among equal units'

    Source: Fukumizu and Amari 2000 for the points; `torch.optim.LBFGS`; Nocedal and Wright 2006,
    algorithm 4.1, with the step of Moré and Sorensen 1983.
    """

    radius: float = 0.1

    @property
    def name(self) -> str:
        """The method in words."""
        return NAME

    def admitted(self, ground: Ground, place: Place, move: Tensor) -> Tensor:
        """The part of the move that keeps equal units equal."""
        space = EqualUnits.at(ground, place)
        return space.outside(space.inside(move))

    def walk(self, ground: Ground, start: Place) -> Iterator[Stride]:
        """The accepted steps."""
        space = EqualUnits.at(ground, start)
        place = start
        for there in _coarse(ground, space, start):
            place = there
            yield Stride(place)
        yield from self._fine(ground, space, place)

    def _fine(self, ground: Ground, space: EqualUnits, place: Place) -> Iterator[Stride]:
        """Newton's steps within a radius."""
        radius = self.radius * max(float(place.vector.norm()), 1.0)
        while True:
            basis = ground.basis(place, space)
            slopes = basis.inside(space.inside(place.gradient))
            while True:
                s = trust_region_step(basis.values, slopes, radius).to(slopes)
                length = float(s.norm())
                there = ground.at(place.vector + space.outside(basis.outside(s)))
                predicted = -float(slopes @ s + 0.5 * (basis.values * s) @ s)
                ratio = (place.value - there.value) / predicted if predicted > 0 else -1.0
                if abs(predicted) < ROUNDING * abs(place.value):
                    ratio = 1.0 if there.slope < place.slope else -1.0
                if not isfinite(there.value) or ratio < 0.25:
                    radius = length / 4
                elif ratio > 0.75 and length > 0.8 * radius:
                    radius *= 2.5
                if isfinite(there.value) and ratio > 1e-4:
                    break
                if radius < SMALLEST * max(float(place.vector.norm()), 1.0):
                    yield Stride(place, stuck="no step lowers the loss any more")
                    return
            place = there
            yield Stride(place)


def _coarse(ground: Ground, space: EqualUnits, start: Place) -> Iterator[Place]:
    """L-BFGS, while it is cheaper than Newton's steps would be."""
    z = space.inside(start.vector).requires_grad_()
    method = torch.optim.LBFGS([z], max_iter=20, history_size=30, line_search_fn="strong_wolfe")
    seen: list[Place] = []

    def loss() -> float:
        place = ground.at(space.outside(z.detach()))
        if not isfinite(place.value):
            raise _OffTheGroundError
        seen.append(place)
        z.grad = space.inside(place.gradient)
        return place.value

    limit = ground.num_gradients + PATIENCE * 2 * space.dimension
    best = start
    while ground.num_gradients < limit and best.slope > NEAR * start.slope:
        seen.clear()
        try:
            method.step(loss)
        except _OffTheGroundError:
            return
        least = min(seen, key=lambda place: place.value)
        if not least.value < best.value:
            return
        best = least
        yield best


class _OffTheGroundError(Exception):
    """L-BFGS looked where the loss is not finite."""
