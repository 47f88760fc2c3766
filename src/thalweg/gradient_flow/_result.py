"""Flow: where gradient flow went, and how surely."""

from __future__ import annotations

from dataclasses import dataclass, field

from jaxtyping import Float
from torch import Tensor

from thalweg._layout import Layout
from thalweg._untold import UNTOLD
from thalweg.gradient_flow._discretisation import DiscretePath
from thalweg.gradient_flow._events import Occurrence
from thalweg.gradient_flow._field import Cost
from thalweg.gradient_flow._path import Path
from thalweg.gradient_flow._sharpness_reader import SharpnessReading
from thalweg.report import Interrupted, Page, PagedResult


@dataclass(frozen=True)
class Reading:
    """The flow at the end of a step.

    Args:
        time: t [param²/loss].
        value: L [loss].
        gradient_norm: ‖∇L‖ [loss/param].
        energy: ∫₀ᵗ‖∇L‖² [loss].
        distance: ‖θ(t) − θ(0)‖ [param].
        error: local errors added up so far [param]; NaN where the method estimates none.
    """

    time: float
    value: float
    gradient_norm: float
    energy: float
    distance: float
    error: float


@dataclass(frozen=True)
class Stiffness:
    """How much faster the sharpest direction is than the way that the flow goes.

    Args:
        sharpness: the largest λ_max that was read [loss/param²].
        steps_of_descent: λ_max t/2: so many steps gradient descent needs at least, as long as its
            step is held below 2/λ_max.
        along: |gᵀHg|/gᵀg at the end: the curvature along the path [loss/param²].
        ratio: λ_max there over that.
    """

    sharpness: float
    steps_of_descent: float
    along: float
    ratio: float


@dataclass(frozen=True, eq=False)
class Flow(PagedResult):
    """θ̇ = −∇L(θ) from where the model is.

    `flow(t)` is θ at a time, by name. The energy identity L(0) − L(t) = ∫₀ᵗ‖∇L‖² holds for the
    true flow; by how much it fails is in `energy_defect`.

    Args:
        title: of the problem.
        integrator: the method in words.
        span: the time that was asked for [param²/loss].
        is_finished: whether the flow got there, or to an event that ends it.
        is_partial: whether it was interrupted.
        ending: why it ended, in words.
        path: θ(t) as a vector.
        layout: names and shapes of θ.
        readings: one a step, from time 0 on.
        energy_defect: |L(0) − L(t) − ∫‖∇L‖²| over |L(0) − L(t)|.
        error_estimate: local errors added up [param]: the error at the end where the flow neither
            draws neighbours together nor drives them apart; NaN where the method has none.
        sharpness: λ_max along the way.
        stiffness: sharpest direction against the way that the flow goes; None where not read.
        occurrences: events, in order.
        discrete: methods with a step, in flow time.
        num_steps: of the integrator.
        cost: what the integrator evaluated.
        reading_cost: what sharpness, events and discrete methods took besides.
        num_parameters: n.
        seed: of the generator.
        machine: where it ran.
    """

    schema = "thalweg/flow/1"
    _also = ("time", "value", "gradient_equivalents")

    title: str
    integrator: str
    span: float
    is_finished: bool
    is_partial: bool
    ending: str
    path: Path = field(metadata=UNTOLD)
    layout: Layout = field(metadata=UNTOLD)
    readings: tuple[Reading, ...]
    energy_defect: float
    error_estimate: float
    sharpness: tuple[SharpnessReading, ...]
    stiffness: Stiffness | None
    occurrences: tuple[Occurrence, ...]
    discrete: tuple[DiscretePath, ...]
    num_steps: int
    cost: Cost
    reading_cost: Cost
    num_parameters: int
    seed: int
    machine: str

    def __call__(self, time: float) -> dict[str, Tensor]:
        """θ at a time, by name.

        Raises:
            ThalwegError: if the flow did not get there.
        """
        return self.layout.unflatten(self.path.at(time))

    @property
    def time(self) -> float:
        """How far it got [param²/loss]."""
        return self.readings[-1].time

    @property
    def value(self) -> float:
        """L at the end [loss]."""
        return self.readings[-1].value

    @property
    def gradient_equivalents(self) -> float:
        """What the integrator spent, in gradients over all data."""
        return self.cost.gradient_equivalents

    @property
    def end(self) -> Float[Tensor, " n"]:
        """θ at the end, as a vector."""
        return self.path.nodes[-1].vector

    def __str__(self) -> str:
        return self.page().text()

    def page(self) -> Page:
        """The page that says all this."""
        from thalweg.gradient_flow._page import page_of

        return page_of(self)


class InterruptedFlow(Interrupted):
    """Ctrl-C on the way, with the flow up to there.

    Args:
        found: it says that it is not finished.
    """

    found: Flow
