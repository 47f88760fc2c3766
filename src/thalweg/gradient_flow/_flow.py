"""flow: follows gradient flow from where the model is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from math import inf, isfinite, nan

import torch
from scipy.optimize import brentq
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._machine import machine_of
from thalweg._problem import Problem
from thalweg._progress import Progress
from thalweg.gradient_flow._discretisation import DiscretePath, Discretisation, walked
from thalweg.gradient_flow._events import Event, Moment, Occurrence
from thalweg.gradient_flow._exponential_adams import ExponentialAdams
from thalweg.gradient_flow._field import Cost, Field, Place, Tally
from thalweg.gradient_flow._graded_rule import graded_rule
from thalweg.gradient_flow._integrator import Extension, FlowStuck, Integrator, Node, Step, size_of
from thalweg.gradient_flow._path import PathBuilder
from thalweg.gradient_flow._result import Flow, InterruptedFlow, Reading, Stiffness
from thalweg.gradient_flow._sharpness_reader import SharpnessReader, SharpnessReading
from thalweg.surface import Surface

MAX_SEED = 2**32 - 1
READ_EVERY = 1.15
"""λ_max is read when the time has grown by this factor, or by a 40th of the span."""

_NUM_READINGS = 40
_LOCATED = 1e-3
"""To this share of a step events are located that λ_max decides."""


def flow(
    problem: Problem,
    span: float,
    integrator: Integrator | None = None,
    *,
    events: Iterable[Event] = (),
    discrete: Iterable[Discretisation] = (),
    params: str | Iterable[str] = "*",
    dtype: torch.dtype | None = torch.float64,
    reads_sharpness: bool = True,
    max_gradients: float = inf,
    max_discrete_steps: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Flow:
    """Follows θ̇ = −∇L(θ) from where the model is, which stays untouched.

        L(0) − L(t) = ∫₀ᵗ‖∇L‖² dτ

    Args:
        problem: model, loss and data; a random model is refused.
        span: the time at which it ends, if no event ends it before [param²/loss]: k steps of
            gradient descent with a small step lr follow it up to the time k·lr.
        integrator: the method; `ExponentialAdams()` where left out. See `thalweg.flow` for others.
        events: what to look out for.
        discrete: methods with a step to be drawn over it: `gradient_descent(lr)`, `momentum(lr)`,
            `adam(lr)`.
        params: globs over the parameters that move.
        dtype: what is computed in, in copies; the parameters' own where None. Below float64 the
            identity holds to a few digits only.
        reads_sharpness: whether λ_max is read along the way.
        max_gradients: what the integrator may spend, in gradients; it ends unfinished there.
        max_discrete_steps: the most steps of each discrete method.
        seed: of what is drawn: start vectors of Lanczos runs.
        progress: told what is being done, and which share of the whole is behind.

    Returns:
        `Flow`: path, readings, events, doubt and cost. One that could not be finished says so.

    Raises:
        ThalwegError: if an argument is out of range.
        ProblemError: if the problem cannot be read; see `Problem.check`.
        InterruptedFlow: on Ctrl-C, once a step was taken; holds the flow up to there.

    Cost:
        That of the integrator, see there; up to about 3 gradients for each of some 60 readings of
        λ_max, and a gradient for each step of a discrete method.

    Example:
        >>> import thalweg
        >>> bowl = thalweg.problems.quadratic((1.0, 100.0))
        >>> found = thalweg.flow(bowl, 20.0)
        >>> found.is_finished, found.energy_defect < 1e-6
        (True, True)

    Source: the methods name theirs; the flow as the limit of gradient descent is Cauchy's.
    """
    method = ExponentialAdams() if integrator is None else integrator
    _check(span, max_gradients, max_discrete_steps, seed, method)
    with torch.inference_mode(False), torch.no_grad():
        surface = Surface(problem, params, dtype=dtype)
        run = _Run(
            Field(surface), method, span, tuple(events), max_gradients, reads_sharpness, seed,
            progress or (lambda *_: None),
        )  # fmt: skip
        is_interrupted = False
        try:
            run.follow()
        except KeyboardInterrupt:
            if len(run.readings) < 2:
                raise
            is_interrupted = True
            run.ending, run.is_finished = f"interrupted at t = {run.readings[-1].time:.6g}", False
        found = run.result(problem)
        if is_interrupted:
            raise InterruptedFlow(replace(found, is_partial=True))
        try:
            paths = run.walks(tuple(discrete), found, max_discrete_steps)
            found = replace(found, discrete=paths)
        except KeyboardInterrupt as interruption:
            ending = f"{found.ending}; interrupted before discrete methods were drawn"
            raise InterruptedFlow(
                replace(found, is_finished=False, is_partial=True, ending=ending)
            ) from interruption
    run.progress("done", 1.0)
    return found


class _Run:
    """One flow under way."""

    def __init__(
        self,
        field: Field,
        method: Integrator,
        span: float,
        events: Sequence[Event],
        max_gradients: float,
        reads_sharpness: bool,
        seed: int,
        progress: Progress,
    ) -> None:
        self.field, self.method, self.span, self.events = field, method, span, events
        self.max_gradients, self.seed, self.progress = max_gradients, seed, progress
        self.generator = torch.Generator().manual_seed(seed)
        self.aside = Tally()
        self.side = field.counting(self.aside)
        self.start = field.at(field.surface.here().vector)
        self.place = self.start
        self.is_finished, self.ending = False, ""
        self.num_steps = 0
        self.occurrences: list[Occurrence] = []
        self.exact: Extension | None = None
        first = Node(0.0, self.start.vector, -self.start.gradient)
        self.path = PathBuilder(first, 10 * getattr(method, "tol", 1e-8) * size_of(first.vector))
        self.readings = [Reading(0.0, self.start.value, _norm(first.velocity), 0.0, 0.0, 0.0)]
        own = torch.Generator().manual_seed(seed)
        is_read = reads_sharpness or any(event.reads_sharpness for event in events)
        self.reader = SharpnessReader(field, own) if is_read else None
        self.sharpness: list[SharpnessReading] = []
        self._last: dict[int, tuple[Node, float]] = {}

    def follow(self) -> None:
        """Takes steps until the span, an event, the budget, or a dead end."""
        self._read_sharpness(0.0, self.start)
        before = Node(0.0, self.start.vector, -self.start.gradient)
        for event in range(len(self.events)):
            self._last[event] = before, self._quantity(event, before)
        if not bool(self.start.gradient.any()):
            self._rest()
            return
        try:
            for step in self.method.steps(self.field, self.start, self.span, self.generator):
                if self._taken(step, before):
                    return
                before = step.nodes[-1]
                spent = self.field.tally.gradient_equivalents
                if spent >= self.max_gradients and step.time < self.span:
                    self.ending = f"the budget of {self.max_gradients:g} gradients is spent"
                    return
        except FlowStuck as stuck:
            self.ending = str(stuck)
            return
        self.is_finished, self.ending = True, f"time {self.span:g} was reached"

    def _rest(self) -> None:
        """A critical point: the flow stays."""
        self.path.add(Node(self.span, self.start.vector, -self.start.gradient))
        self.readings.append(replace(self.readings[0], time=self.span))
        self.is_finished, self.ending = True, "the gradient is zero: the flow stays where it is"

    def _taken(self, step: Step, before: Node) -> bool:
        """Takes in a step; whether an event ended the flow."""
        self.num_steps += 1
        self.exact = step.exact
        for node in step.nodes:
            self.path.add(node)
        self.place = step.place
        self._note(step.time, step.place, step.energy, step.error)
        is_due = self.sharpness and (
            step.time >= self.sharpness[-1].time + self.span / _NUM_READINGS
            or 0 < self.sharpness[-1].time * READ_EVERY <= step.time
            or self.sharpness[-1].time == 0
            or step.time >= self.span
        )
        if is_due:
            self._read_sharpness(step.time, step.place)
        for number, event in enumerate(self.events):
            if event.reads_sharpness and not is_due:
                continue
            if self._looked(number, [before, *step.nodes], step):
                return True
        share = step.time / self.span
        self.progress(f"t = {step.time:.4g}, L = {step.place.value:.4g}", min(share, 1.0))
        return False

    def _note(self, time: float, place: Place, energy: float, error: float) -> None:
        last = self.readings[-1]
        self.readings.append(
            Reading(
                time,
                place.value,
                _norm(place.gradient),
                last.energy + energy,
                _norm(place.vector - self.start.vector),
                last.error + error,
            )
        )

    def _looked(self, number: int, nodes: Sequence[Node], step: Step) -> bool:
        """Looks for one event on a step; whether it ended the flow."""
        event = self.events[number]
        ends = nodes[-1:] if event.reads_sharpness else nodes[1:]
        for node in ends:
            earlier, quantity = self._last[number]
            now = self._quantity(number, node)
            self._last[number] = node, now
            if quantity == 0 or (quantity > 0) == (now > 0):
                continue
            time = self._located(number, earlier.time, node.time, quantity, now)
            is_end = event.ends_flow
            self.occurrences.append(Occurrence(event.said, time, now > 0, is_end))
            if is_end:
                self._cut(time, step)
                self.is_finished, self.ending = True, f"{event.said} at t = {time:.6g}"
                return True
        return False

    def _located(self, number: int, low: float, high: float, a: float, b: float) -> float:
        event = self.events[number]
        path = self.path.path(self.exact)

        def quantity(time: float) -> float:
            if time in (low, high):
                return a if time == low else b
            return self._quantity(number, Node(time, path.at(time), path.velocity(time)))

        share = _LOCATED if event.reads_sharpness else 1e-10
        found: float = brentq(quantity, low, high, xtol=max(share * (high - low), 1e-300))
        return found

    def _quantity(self, number: int, node: Node) -> float:
        def sharpness() -> float:
            assert self.reader is not None
            if self.sharpness and self.sharpness[-1].time == node.time:
                return self.sharpness[-1].value
            return self.reader.read(self.side.at(node.vector), node.time).value

        return self.events[number].quantity(Moment(node.time, node.velocity, sharpness))

    def _cut(self, time: float, step: Step) -> None:
        """The flow ends within its last step."""
        if time >= step.time:
            return
        path = self.path.path(self.exact)
        node = Node(time, path.at(time), path.velocity(time))
        self.readings.pop()
        start = self.readings[-1].time
        energy = _energy_between(path.velocity, start, time)
        self.path.cut(node)
        self.place = self.side.at(node.vector)
        self._note(time, self.place, energy, step.error)
        self._read_sharpness(time, self.place)

    def _read_sharpness(self, time: float, place: Place) -> None:
        if self.reader is not None:
            self.sharpness.append(self.reader.read(place, time))

    def _stiffness(self) -> Stiffness | None:
        if not self.sharpness or not bool(self.place.gradient.any()):
            return None
        g = self.place.gradient
        bend = float(g @ (self.side.hessian(self.place) @ g)) / float(g @ g)
        largest = max(reading.value for reading in self.sharpness)
        ratio = abs(self.sharpness[-1].value / bend) if bend else inf
        return Stiffness(largest, largest * self.readings[-1].time / 2, abs(bend), ratio)

    def result(self, problem: Problem) -> Flow:
        """What there is."""
        first, last = self.readings[0], self.readings[-1]
        fall = first.value - last.value
        missed = abs(fall - last.energy)
        aside = self.aside
        stiffness = self._stiffness()
        reading = self.reader.tally if self.reader is not None else Tally()
        return Flow(
            title=problem.name or type(problem.model).__name__,
            integrator=self.method.said,
            span=self.span,
            is_finished=self.is_finished,
            is_partial=False,
            ending=self.ending,
            path=self.path.path(self.exact),
            layout=self.field.surface.layout,
            readings=tuple(self.readings),
            energy_defect=missed / abs(fall) if fall else (0.0 if missed == 0 else nan),
            error_estimate=last.error,
            sharpness=tuple(self.sharpness),
            stiffness=stiffness,
            occurrences=tuple(self.occurrences),
            discrete=(),
            num_steps=self.num_steps,
            cost=self.field.tally.cost,
            reading_cost=_sum(aside.cost, reading.cost),
            num_parameters=self.field.surface.layout.size,
            seed=self.seed,
            machine=machine_of(self.start.vector),
        )

    def walks(
        self, methods: Sequence[Discretisation], found: Flow, max_steps: int
    ) -> tuple[DiscretePath, ...]:
        """Discrete methods over the same time."""
        paths = []
        for method in methods:
            self.progress(method.said, 1.0)
            paths.append(walked(method, self.side, self.start, found.path, max_steps))
        return tuple(paths)


def _energy_between(velocity: Callable[[float], Tensor], low: float, high: float) -> float:
    """∫‖θ̇‖² of a path, by Gauss' rule on panels that get finer to its start."""
    total = 0.0
    for share, weight in zip(*graded_rule(64.0), strict=True):
        speed = velocity(low + float(share) * (high - low))
        total += float(weight) * (high - low) * float(speed @ speed)
    return total


def _sum(one: Cost, other: Cost) -> Cost:
    return Cost(
        one.num_gradients + other.num_gradients,
        one.num_products + other.num_products,
        one.products_in_gradients + other.products_in_gradients,
    )


def _norm(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector))


def _check(
    span: float, max_gradients: float, max_steps: int, seed: int, method: Integrator
) -> None:
    if not (span > 0 and isfinite(span)):
        raise ThalwegError(f"flow(span={span}); give a positive, finite time [param²/loss]")
    if not max_gradients >= 1:
        raise ThalwegError(f"max_gradients={max_gradients}; give 1 or more")
    if max_steps < 1:
        raise ThalwegError(f"max_discrete_steps={max_steps}; give 1 or more")
    if not 0 <= seed <= MAX_SEED:
        raise ThalwegError(f"seed={seed}; give a whole number from 0 to {MAX_SEED}")
    if not isinstance(method, Integrator):
        raise ThalwegError(
            f"integrator={method!r}; give an object, such as "
            f"thalweg.gradient_flow.ExponentialAdams()"
        )
