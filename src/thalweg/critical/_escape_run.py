"""One run away from a saddle: a method on a copy, step by step along the eigenvectors."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._training import described
from thalweg.critical._escape_methods import EscapeMethod
from thalweg.critical._escape_saddle import Saddle, at
from thalweg.critical._escape_theory import EscapeTheory
from thalweg.optim import RecordedOptimizer, StepRecord
from thalweg.surface import Surface

LOOK_AHEAD = 20_000
"""Theory is asked for so many steps at most."""

ARRIVED = 1e-3
"""A method that has come nearer than this share of its first distance was attracted."""


@dataclass(frozen=True, eq=False)
class EscapeRun:
    """A method that starts at a distance from a saddle.

    Args:
        method: its name.
        distance: d = ‖θ₀ − θ_s‖ [param].
        coordinates: c = Uᵀ(θ_k − θ_s) before the first step and after each (s + 1, n) [param].
        losses: L(θ_k) − L(θ_s) (s + 1,) [loss].
        gradients: spent up to each (s + 1,) [gradients].
        escaped_at: the first step after which it was outside and below; None where none was.
        predicted_at: the same by theory; None where there is none, or never.
        is_bound: whether that is an upper bound only.
        predicted: `coordinates` by theory, which knows the start and what damping, radius or weight
            each step had; None where there is none.
        ending: why it ended.
    """

    method: str
    distance: float
    coordinates: Float[Tensor, "s n"]
    losses: Float[Tensor, " s"]
    gradients: Float[Tensor, " s"]
    escaped_at: int | None
    predicted_at: int | None
    is_bound: bool
    predicted: Float[Tensor, "s n"] | None
    ending: str

    @property
    def num_steps(self) -> int:
        """Steps taken."""
        return len(self.losses) - 1

    @property
    def gradients_to_escape(self) -> float | None:
        """What the steps until then cost [gradients]."""
        return None if self.escaped_at is None else float(self.gradients[self.escaped_at])

    @property
    def factors(self) -> Float[Tensor, " n"]:
        """c'/c of the first step along each eigenvector; NaN where c was 0, or no step taken."""
        if self.num_steps == 0:
            return torch.full_like(self.coordinates[0], torch.nan)
        return _ratio(self.coordinates[1], self.coordinates[0])

    @property
    def predicted_factors(self) -> Float[Tensor, " n"] | None:
        """The same by theory."""
        if self.predicted is None or self.num_steps == 0:
            return None
        return _ratio(self.predicted[1], self.coordinates[0])

    @property
    def first_length(self) -> float:
        """‖s‖ of the first step [param]; 0 where none was taken."""
        return float((self.coordinates[1] - self.coordinates[0]).norm()) if self.num_steps else 0.0

    @property
    def predicted_length(self) -> float | None:
        """The same by theory."""
        if self.predicted is None or self.num_steps == 0:
            return None
        return float((self.predicted[1] - self.coordinates[0]).norm())


def _ratio(after: Tensor, before: Tensor) -> Tensor:
    return torch.where(before == 0, torch.nan, after / before)


def run_from(
    saddle: Saddle,
    method: EscapeMethod,
    distance: float,
    unit: Float[Tensor, " n"],
    radius: float,
    max_steps: int,
    max_gradients: float,
) -> EscapeRun:
    """Runs a method from θ_s + d U c until it is out, back, or its steps are spent.

    Args:
        saddle: θ_s and U.
        method: the optimizer.
        distance: d.
        unit: c, of length 1.
        radius: r.
        max_steps: at most.
        max_gradients: at most.
    """
    own, params = _copied(saddle)
    point, layout = saddle.point, saddle.point.layout

    def here() -> Tensor:
        tensors = [p.detach().reshape(-1) for p in params]
        return saddle.vectors.T @ (torch.cat(tensors) - point.vector)

    _place(params, layout.unflatten(point.vector + saddle.vectors @ (distance * unit)).values())
    opt = method.make(params)

    def height() -> float:
        return at(point, _vector(params)).value - point.value

    places, spent, losses = [here()], [0.0], []
    records: list[StepRecord | None] = []
    is_flat = not bool(saddle.values.any())
    escaped_at, ending = None, f"not out after {max_steps:,} steps"
    while len(records) < max_steps:
        try:
            before, record, cost = _stepped(own, opt, params)
        except (ThalwegError, ArithmeticError) as error:
            ending = described(error)
            break
        losses.append(before - point.value)
        place = here()
        if not bool(torch.isfinite(place).all()):
            ending = f"the parameters are not finite after step {len(records) + 1}"
            losses.pop()
            _place(params, layout.unflatten(point.vector + saddle.vectors @ places[-1]).values())
            break
        records.append(record)
        places.append(place)
        spent.append(spent[-1] + cost)
        length = float(place.norm())
        if length > radius and height() < 0:
            escaped_at, ending = len(records), "out"
            break
        # Along null directions critical points lie side by side: any of them has it.
        curved = place if is_flat else place[saddle.values != 0]
        is_on_it = record is not None and record.gradient_norm == 0
        if is_on_it or float(curved.norm()) < ARRIVED * distance:
            ending = "attracted by the saddle"
            break
        if record is not None and not record.is_accepted:
            ending = f"no step: {record.reason}"
            break
        if spent[-1] >= max_gradients:
            ending = f"not out after {spent[-1]:,.0f} gradients"
            break
    losses.append(height())
    # Where the Hessian vanishes there is no quadratic to have a theory of.
    theory = None if is_flat else method.theory
    return EscapeRun(
        method=method.name,
        distance=distance,
        coordinates=torch.stack(places),
        losses=torch.tensor(losses, dtype=torch.float64),
        gradients=torch.tensor(spent, dtype=torch.float64),
        escaped_at=escaped_at,
        predicted_at=(
            theory.num_steps(saddle.values, places[0], radius, LOOK_AHEAD) if theory else None
        ),
        is_bound=theory is not None and theory.is_bound,
        predicted=_foretold(theory, saddle.values, places[0], records) if theory else None,
        ending=ending,
    )


def _foretold(
    theory: EscapeTheory, values: Tensor, c: Tensor, records: Sequence[StepRecord | None]
) -> Tensor:
    places = [c]
    for number, record in enumerate(records):
        places.append(theory.after(values, places[-1], number, record))
    return torch.stack(places)


def _vector(params: list[nn.Parameter]) -> Tensor:
    return torch.cat([p.detach().reshape(-1) for p in params])


def _place(params: list[nn.Parameter], values: Iterable[Tensor]) -> None:
    for p, value in zip(params, values, strict=True):
        p.data.copy_(value)


def _copied(saddle: Saddle) -> tuple[Problem, list[nn.Parameter]]:
    """The problem with a model of its own, of which the surface's parameters alone may move."""
    own = saddle.point.problem.copied()
    tensors = {**dict(own.model.named_parameters()), **dict(own.model.named_buffers())}
    with torch.no_grad():
        for name, value in saddle.point.held.items():
            tensors[name].copy_(value)
    chosen = set(saddle.point.layout.names)
    for name, p in own.model.named_parameters():
        p.requires_grad_(name in chosen)
    return own, [dict(own.model.named_parameters())[n] for n in saddle.point.layout.names]


def _stepped(
    own: Problem, opt: torch.optim.Optimizer, params: list[nn.Parameter]
) -> tuple[float, StepRecord | None, float]:
    """A step: the loss before it, its record where it leaves one, and its cost."""
    if isinstance(opt, RecordedOptimizer):
        opt.bind(own).step()
        record = opt.record
        assert record is not None, "a loss was bound"
        assert record.loss is not None, "a loss was bound"
        return record.loss, record, record.gradient_equivalents
    here = Surface(own).here()
    for p, g in zip(params, here.gradient.values(), strict=True):
        p.grad = g.clone()
    opt.step()
    return here.value, None, 1.0
