"""Integrator: a way to follow θ̇ = −∇L; each is a file of its own behind this interface."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.gradient_flow._field import Field, Place

Extension = Callable[[float], tuple[Tensor, Tensor]]
"""From a share s ∈ [0, 1] of a step, or from a time, to θ and θ̇ there."""

DEEPEST = 24
"""So often a step is halved at most where a cubic does not follow it."""


@dataclass(frozen=True, eq=False)
class Node:
    """A moment that the path is interpolated from.

    Args:
        time: t [param²/loss].
        vector: θ(t).
        velocity: θ̇(t) [loss/param].
    """

    time: float
    vector: Float[Tensor, " n"]
    velocity: Float[Tensor, " n"]


@dataclass(frozen=True, eq=False)
class Step:
    """What an integrator did in one step.

    Args:
        nodes: moments within the step and at its end; cubics through them are the path.
        place: where it ends.
        energy: ∫‖θ̇‖² dt over the step [loss].
        error: the estimate of its local error, ‖·‖₂ [param]; NaN where the method has none.
        exact: θ and θ̇ at a time, where the method knows the whole path.
    """

    nodes: tuple[Node, ...]
    place: Place
    energy: float
    error: float
    exact: Extension | None = None

    @property
    def time(self) -> float:
        """When it ends."""
        return self.nodes[-1].time


@dataclass(frozen=True)
class Integrator(ABC):
    """A method to follow the flow; an instance holds its settings."""

    @property
    @abstractmethod
    def said(self) -> str:
        """The method in words."""

    @abstractmethod
    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Accepted steps from time 0 to exactly `span`.

        Args:
            field: evaluates ∇L, and counts.
            start: where the flow begins.
            span: the time at which it ends.
            generator: for what is drawn at random.

        Raises:
            FlowStuck: if no step can be taken any more.
        """


class FlowStuck(Exception):  # noqa: N818
    """An integrator cannot go on; says why. It ends the walk, not the program."""


def size_of(vector: Float[Tensor, " n"]) -> float:
    """max(1, ‖θ‖): what tolerances are a share of."""
    return max(1.0, float(torch.linalg.vector_norm(vector)))


def check_tol(call: str, tol: float) -> None:
    """Refuses tolerances that cannot be met."""
    if not 1e-14 <= tol < 1:
        raise ThalwegError(f"{call}(tol={tol}); give a local error from 1e-14 to below 1")


def refined(before: Node, extension: Extension, length: float, tol: float) -> tuple[Node, ...]:
    """Nodes on a step, so close that cubics between them stay within `tol` of its extension."""
    end = Node(before.time + length, *extension(1.0))
    return tuple(_halved((0.0, before), (1.0, end), extension, length, tol, DEEPEST))


def _halved(
    left: tuple[float, Node],
    right: tuple[float, Node],
    extension: Extension,
    length: float,
    tol: float,
    depth: int,
) -> Iterator[Node]:
    if not left[1].time < right[1].time:  # as short as rounding
        return
    share = (left[0] + right[0]) / 2
    time = (left[1].time + right[1].time) / 2
    vector, velocity = extension(share)
    cubic, _ = hermite(left[1], right[1], time)
    if depth == 0 or float(torch.linalg.vector_norm(cubic - vector)) <= tol:
        yield right[1]
        return
    middle = share, Node(time, vector, velocity)
    yield from _halved(left, middle, extension, length, tol, depth - 1)
    yield from _halved(middle, right, extension, length, tol, depth - 1)


def hermite(left: Node, right: Node, time: float) -> tuple[Tensor, Tensor]:
    """θ and θ̇ at a time, of the cubic through two nodes."""
    h = right.time - left.time
    s = (time - left.time) / h
    jump = right.vector - left.vector
    a = h * left.velocity - jump
    b = jump - h * right.velocity
    vector = left.vector + s * jump + s * (1 - s) * ((1 - s) * a + s * b)
    slope = (1 - s) * (1 - 3 * s) * a + s * (2 - 3 * s) * b
    return vector, (jump + slope) / h
