"""The sharpness λ_max along a training run, for a fraction of what the run costs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, inf, log, prod, sqrt

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg.linalg import extremes, follow
from thalweg.surface import Surface, SurfaceOperator

AUDIT_EVERY = 32
"""So many measurements apart, one starts from a random vector and not from the last one."""

ROUGH = 0.02
"""Relative residual from which a vector is followed."""


@dataclass(frozen=True)
class Sharpness:
    """λ_max at one step.

    Args:
        value: λ_max [loss/param²].
        error: how far it may be off: for a measurement what the residual leaves open, between
            measurements also what the extrapolation missed last time [loss/param²].
        is_measured: from products at these parameters; otherwise extrapolated in time.
        num_products: products spent on it.
    """

    value: float
    error: float
    is_measured: bool
    num_products: int


class SharpnessTracker:
    """Follows λ_max of a problem's Hessian while its model is trained.

    Each `read` is one step. A measurement starts from the last eigenvector and often takes one
    product; between measurements ln λ_max is extrapolated by a parabola through the last three. How
    far is decided by what the last extrapolation missed: the interval grows, up to fourfold, while
    that is well within the tolerance, and shrinks where it is not.

    Args:
        problem: what is trained; its model is read where it is at each `read`.
        generator: draws the first vector, and those of the audits.
        tol: wanted relative error.
        max_interval: the most steps between measurements; 1 measures at every step.
        params: globs over the parameters.

    Raises:
        ThalwegError: if tol is not positive or max_interval below 1.
        ProblemError: see `Problem.check`.

    Cost: a measurement takes about 1 gradient to prepare and 1 to 2 a product.

    Example:
        >>> import torch, thalweg
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x))
        >>> tracker = SharpnessTracker(problem, generator=torch.Generator().manual_seed(0))
        >>> round(tracker.read().value, 3)
        6.854

    Source: Parlett 1998, sec. 10.5 for the error of a measurement; the extrapolation, whose step
    is controlled as that of an ODE solver is, is ours.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        generator: torch.Generator,
        tol: float = 1e-2,
        max_interval: int = 16,
        params: str | Iterable[str] = "*",
    ) -> None:
        if not tol > 0 or max_interval < 1:
            raise ThalwegError(
                f"SharpnessTracker(tol={tol}, max_interval={max_interval}): give a positive "
                f"tolerance and an interval of at least one step"
            )
        self._surface = Surface(problem, params)
        self._generator = generator
        self._tol = tol
        self._max_interval = max_interval
        self._step = 0
        self._interval = 1
        self._num_measured = 0
        self._vectors: list[tuple[int, Tensor]] = []
        self._second = -inf
        self._is_drifting = False
        self._missed = 0.0
        self._history: list[tuple[int, float, float]] = []
        self.gradient: dict[str, Tensor] | None = None
        """∇L by name where the last `read` measured, None where it extrapolated [loss/param].

        It comes with the measurement, so that a training on the same data need not compute it."""

    def read(self) -> Sharpness:
        """λ_max where the model is now."""
        step, self._step = self._step, self._step + 1
        self.gradient = None
        if self._history and step < self._history[-1][0] + self._interval:
            value = self._extrapolated(step)
            return Sharpness(value, self._history[-1][2] + self._missed * abs(value), False, 0)
        point = self._surface.here()
        found = self._measured(point.hessian(), step)
        self.gradient = point.gradient
        self._learn(step, found)
        self._num_measured += 1
        return found

    def _measured(self, op: SurfaceOperator, step: int) -> Sharpness:
        num_products = 0
        # While a loss falls, its curvature falls as a whole.
        former = self._history[-1][1] if self._history else None
        if not self._vectors or self._num_measured % AUDIT_EVERY == 0:
            k = min(2, op.size)
            # No more than `follow` needs to start from.
            top = extremes(op, k, generator=self._generator, tol=ROUGH).top
            start, self._second = top.vectors[:, 0], float(top.values[-1]) if k > 1 else -inf
            former = None
            num_products = top.num_products
        else:
            last = self._vectors[-1][1]
            start = _ahead(self._vectors, step)
            if not self._is_drifting:
                start, last = last, start
        # Half of the tolerance is for the extrapolation.
        found = follow(op, start, self._second, former=former, tol=self._tol / 2)
        # What moved the vector closer to where it was found is what the next guess relies on.
        if num_products == 0 and _distance(last, found.vector) < _distance(start, found.vector):
            self._is_drifting = not self._is_drifting
        self._second = found.second
        self._vectors = [*self._vectors[-1:], (step, found.vector)]
        return Sharpness(found.value, found.error, True, num_products + found.num_products)

    def _learn(self, step: int, found: Sharpness) -> None:
        """Sets the interval to the next measurement by what extrapolation missed at this one."""
        if self._history:
            guess = self._extrapolated(step)
            missed = abs(guess - found.value) / max(abs(found.value), 1e-300)
            # One good guess may be luck: the miss before it counts too, at half.
            self._missed = max(missed, self._missed / 2)
            share = self._missed / (self._tol / 2)
            factor = min(4.0, max(0.2, 0.7 / max(share, 1e-6) ** (1 / len(self._history))))
            self._interval = max(1, min(self._max_interval, int(self._interval * factor + 0.5)))
        self._history = [*self._history[-2:], (step, found.value, found.error)]

    def _extrapolated(self, step: int) -> float:
        """Of ln λ through the last points, or of λ where it is not positive everywhere."""
        times = [time for time, _, _ in self._history]
        values = [value for _, value, _ in self._history]
        if min(values) > 0:
            return exp(_lagrange(times, [log(value) for value in values], step))
        return _lagrange(times, values, step)


def _lagrange(times: list[int], values: list[float], time: int) -> float:
    """The polynomial through all points, at a time."""
    return sum(
        value * prod((time - s) / (t - s) for s in times if s != t)
        for t, value in zip(times, values, strict=True)
    )


def _distance(guess: Tensor, unit: Tensor) -> float:
    """The sine of the angle between a guess and a unit vector."""
    cosine = float(guess @ unit) / float(torch.linalg.vector_norm(guess))
    return sqrt(max(1.0 - cosine**2, 0.0))


def _ahead(vectors: list[tuple[int, Tensor]], step: int) -> Tensor:
    """The last eigenvector, moved on as it moved before."""
    time, vector = vectors[-1]
    if len(vectors) < 2:
        return vector
    before, former = vectors[0]
    former = former if float(former @ vector) >= 0 else -former
    return vector + (vector - former) * ((step - time) / (time - before))
