"""Solvers of ∇L = 0: one small interface, and the walk that any of them takes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.critical._deflation import MOST_KICKS, Deflation
from thalweg.critical._ground import Ground, Place


@dataclass(frozen=True, eq=False)
class Stride:
    """One accepted step of a solver.

    Args:
        place: where it led.
        is_escape: whether it was a jump out of a flat region rather than a step of the method.
        stuck: why no further step can be taken; "" while one can.
    """

    place: Place
    is_escape: bool = False
    stuck: str = ""


class Solver(ABC):
    """A way to go to a point where the gradient vanishes, be it uphill."""

    @property
    @abstractmethod
    def name(self) -> str:
        """The method in words."""

    @abstractmethod
    def walk(self, ground: Ground, start: Place) -> Iterator[Stride]:
        """The accepted steps, one after another, for as long as they are asked for."""

    def admitted(self, ground: Ground, place: Place, move: Tensor) -> Tensor:  # noqa: ARG002
        """What of a move by others, such as a kick off a known point, the solver allows: all."""
        return move


@dataclass(frozen=True, eq=False)
class Approach:
    """Where a walk ended.

    Args:
        place: the last.
        num_steps: accepted steps.
        num_escapes: jumps out of flat regions among them.
        num_kicks: times it was sent off from a known point.
        why: in words, why it ended, "" where the gradient vanished.
    """

    place: Place
    num_steps: int
    num_escapes: int
    num_kicks: int
    why: str


@dataclass(frozen=True, eq=False)
class Goal:
    """When a walk ends.

    Args:
        tol: ‖∇L‖² below which the gradient counts as zero [loss²/param²].
        max_gradients: what may be spent.
        deflation: the points that are known already.
    """

    tol: float
    max_gradients: float
    deflation: Deflation


def approach(
    ground: Ground, solver: Solver, start: Place, goal: Goal, generator: torch.Generator
) -> Approach:
    """Walks until ‖∇L‖² ≤ tol at a point not yet known, the work is spent, or no step is left."""
    place = start
    num_steps = num_escapes = num_kicks = 0
    limit = ground.num_gradients + goal.max_gradients

    def is_spent() -> bool:
        return ground.num_gradients >= limit

    while True:
        why = ""
        is_known = goal.deflation.knows(ground, place)
        if not is_known and place.slope**2 > goal.tol:
            for stride in solver.walk(ground, place):
                place, why = stride.place, stride.stuck
                num_steps += 1
                num_escapes += stride.is_escape
                is_known = goal.deflation.knows(ground, place)
                if place.slope**2 <= goal.tol or is_known or is_spent() or why:
                    break
        if not is_known or is_spent() or num_kicks >= MOST_KICKS:
            break
        kick = goal.deflation.kick(ground, place, num_kicks, generator)
        place = ground.at(place.vector + solver.admitted(ground, place, kick))
        num_kicks += 1
    if place.slope**2 > goal.tol and is_known and not is_spent():
        # No kick is left: it may end where another walk did.
        without = Goal(goal.tol, limit - ground.num_gradients, Deflation())
        last = approach(ground, solver, place, without, generator)
        return Approach(
            last.place,
            num_steps + last.num_steps,
            num_escapes + last.num_escapes,
            num_kicks,
            last.why,
        )
    if place.slope**2 > goal.tol and not why:
        why = f"the work allowed, {goal.max_gradients:,.0f} gradients, was spent"
    return Approach(place, num_steps, num_escapes, num_kicks, why)
