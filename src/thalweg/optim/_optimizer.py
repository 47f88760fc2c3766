"""SurfaceOptimizer: what every optimizer that looks at the loss has in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from operator import is_not
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg.optim._metric import Identity, Metric
from thalweg.optim._objective import Objective
from thalweg.optim._record import StepRecord
from thalweg.optim._recorded_optimizer import Closure, RecordedOptimizer, refuse_mixture
from thalweg.optim._subspace import Subspace
from thalweg.optim._walk import Attempt, Walk
from thalweg.surface import HESSIAN, Curvature

NEVER = -1
"""The step of the last reading of a metric that was not read."""


@dataclass(frozen=True)
class Outcome:
    """How a step ended.

    Args:
        attempt: the last one; None where nothing was tried.
        is_accepted: whether the parameters stay where it moved them.
        reason: in words.
        damping: λ of it.
        radius: of it.
        subspace_size: directions in which the curvature was known.
        lowest_curvature: smallest eigenvalue seen.
        highest_curvature: largest.
    """

    attempt: Attempt | None
    is_accepted: bool
    reason: str
    damping: float | None = None
    radius: float | None = None
    subspace_size: int | None = None
    lowest_curvature: float | None = None
    highest_curvature: float | None = None

    @classmethod
    def within(
        cls,
        subspace: Subspace,
        attempt: Attempt | None,
        is_accepted: bool,
        reason: str,
        *,
        damping: float | None = None,
        radius: float | None = None,
    ) -> Outcome:
        """The end of a step taken in a subspace."""
        return cls(
            attempt,
            is_accepted,
            reason,
            damping,
            radius,
            subspace.size,
            subspace.lowest,
            subspace.highest,
        )


class SurfaceOptimizer(RecordedOptimizer):
    """A `torch.optim.Optimizer` that evaluates the loss itself, as often as its step needs.

    The loss is handed over in one of two ways:

        opt.step(lambda: loss(model(x), y))       # a closure that does not call backward
        opt.bind(model, loss, (x, y)).step()      # known outputs: also the GGN, several batches

    A step ends where its record says, or the parameters are to the bit what they were. What it
    remembers is in `state_dict()`, so that a resumed run is the uninterrupted one; the loss has to
    be bound again.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published; read from its group in each step.
        maximize: climb instead; in all groups or in none.
        curvature: `thalweg.surface.HESSIAN` or `GGN`, which needs `bind`.
        metric: in which steps are measured.
        refresh_every: steps between two readings of the metric.
        seed: of what is drawn at random.

    Raises:
        OptimizerError: in `step`, if there is no loss, or the closure calls `backward`.
        NonFiniteError: in `step`, if loss or gradient are not finite where it starts.
        RandomModelError: in `step`, if the loss differs between two calls at one place.
        LayoutError: in `step`, if parameters mix dtypes or devices.
    """

    curvature: Curvature | None
    metric: Metric

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float = 1.0,
        maximize: bool = False,
        curvature: Curvature | None = HESSIAN,
        metric: Metric | None = None,
        refresh_every: int = 10,
        seed: int = 0,
    ) -> None:
        if not refresh_every >= 1:
            raise OptimizerError(f"refresh_every={refresh_every}; give a whole number of 1 or more")
        super().__init__(params, {"lr": lr, "maximize": maximize})
        self.curvature = curvature
        self.metric = Identity() if metric is None else metric
        self.refresh_every = refresh_every
        self.seed = seed
        self._attached: list[nn.Parameter] = []
        self._is_restored = False

    @abstractmethod
    def _advance(self, walk: Walk) -> Outcome:
        """Takes one step; the parameters are left where the outcome says."""

    def _begin(self) -> None:
        """Puts into `memory` all that the method will remember, as it is before the first step.

        Numbers, tensors in the parameters' dtype, and dicts of these with fixed keys:
        torch.distributed.checkpoint loads what is there, and torch casts the rest.
        """

    # torch declares two overloads for the two ways to call it.
    def step(self, closure: Closure | None = None) -> Tensor | None:  # type: ignore[override]
        """Takes one step.

        Args:
            closure: returns the loss, without `backward`; left out where `bind` gave it.

        Returns:
            The loss before the step; None where there was none to descend (see below).

        `step()` without any loss is what checkpoint loaders call to have the state built, with
        gradients that are all zero or absent; nothing moves then.
        """
        params = self._trainable()
        closure = self._meant(closure)
        self._prepare(params)
        if self._is_asked_for_state(closure):
            return None
        objective = self._objective(closure, params)
        if objective is None:
            self._refuse_gradients(params)
            return None
        started = perf_counter()
        walk = Walk(objective, self._rates(params), self._curvature_of_step(objective))
        with walk:
            outcome = self._walked(walk)
        self.memory["step"] += 1
        self.record = self._recorded(walk, outcome, perf_counter() - started)
        return torch.tensor(self._sign() * walk.value, dtype=params[0].dtype)

    def _curvature_of_step(self, objective: Objective) -> Curvature | None:  # noqa: ARG002
        """Which products the next step needs."""
        return self.curvature

    def _is_metric_due(self) -> bool:
        """Whether the next step reads the metric first."""
        last: int = self.memory["refreshed"]
        since: int = self.memory["step"] - last
        return last == NEVER or since >= self.refresh_every

    def refresh_metric(self, walk: Walk) -> None:
        """Reads the metric anew where the walk starts; done by itself every `refresh_every` steps.

        Cost: that of the metric, counted in the record.
        """
        walk.retreat()
        with walk.objective.leaving_no_trace():
            self.metric.refresh(walk.objective, self.generator(1))
        walk.gradients_spent += self.metric.gradients_per_refresh
        self.memory["refreshed"] = self.memory["step"]

    # -- what a method remembers ------------------------------------------------------------

    def remembered(self, name: str) -> Float[Tensor, " n"]:
        """A vector that was kept, zero where there is none."""
        return torch.cat(
            [self.state[p].get(name, torch.zeros_like(p)).reshape(-1) for p in self._trainable()]
        )

    def remember(self, name: str, vector: Float[Tensor, " n"]) -> None:
        """Keeps a vector, each parameter its part."""
        params = self._trainable()
        for p, piece in zip(params, vector.split([p.numel() for p in params]), strict=True):
            self.state[p][name] = piece.view_as(p).clone()

    def generator(self, stream: int = 0) -> torch.Generator:
        """The random numbers of this step: the same again in a run that was resumed before it."""
        seed = self.seed + 1_000_003 * self.memory["step"] + 999_983 * stream
        return torch.Generator().manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        """What it remembers; see torch."""
        if self.state:
            self.memory["metric"] = self.metric.state_dict()
        return super().state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict()` gave; see torch."""
        super().load_state_dict(state_dict)
        self._is_restored = True
        self._attached = self._trainable()
        self.metric.attach(self._attached)
        if self.state and self.memory.get("metric"):
            self.metric.load_state_dict(self.memory["metric"])
        elif self.state:
            self.memory["refreshed"] = NEVER

    # -- how it is done ---------------------------------------------------------------------

    def _measure_by(self, metric: Metric) -> None:
        """Takes a metric that `bind` found, with what a checkpoint kept of the one before it."""
        self.metric = metric
        self._attached = []
        kept = self.memory.get("metric") if self.state and self._is_restored else None
        if kept:
            self._attached = self._trainable()
            metric.attach(self._attached)
            metric.load_state_dict(kept)
        self._is_restored = False

    def _prepare(self, params: list[nn.Parameter]) -> None:
        refuse_mixture(params)
        if len(params) != len(self._attached) or any(map(is_not, params, self._attached)):
            # At first, after add_param_group, or where one was frozen.
            self._attached = params
            self.metric.attach(params)
            self.memory["refreshed"] = NEVER
            for p in params:
                self.state[
                    p
                ].update()  # an entry each, without which a checkpoint calls the state lost
        if "step" not in self.memory:
            self.memory.update(step=0, metric={})
            self._begin()

    def _walked(self, walk: Walk) -> Outcome:
        """A step, checked before it and where it fails."""
        if self._is_still():
            return Outcome(None, False, "the learning rate is 0")
        self._check(walk)
        if self._is_metric_due():
            self.refresh_metric(walk)
        outcome = self._advance(walk)
        if not outcome.is_accepted:
            walk.retreat()
            if outcome.attempt is not None:
                walk.refuse_difference()
            walk.objective.take_back()
        return outcome

    def _rates(self, params: list[nn.Parameter]) -> float | Float[Tensor, " n"]:
        rates = [float(g["lr"]) for g in self.param_groups for _ in g["params"]]
        chosen = [lr for p, lr in zip(self._all_params(), rates, strict=True) if p.requires_grad]
        if len(set(chosen)) == 1:
            return chosen[0]
        return torch.cat(
            [torch.full_like(p, lr).reshape(-1) for p, lr in zip(params, chosen, strict=True)]
        ).detach()

    def _recorded(self, walk: Walk, outcome: Outcome, seconds: float) -> StepRecord:
        attempt = outcome.attempt
        return StepRecord(
            step=self.memory["step"],
            loss=self._sign() * walk.value,
            gradient_norm=walk.gradient_norm,
            step_norm=(
                float(torch.linalg.vector_norm(attempt.step))
                if attempt is not None and outcome.is_accepted
                else 0.0
            ),
            first_order_decrease=None if attempt is None else attempt.first,
            second_order_decrease=None if attempt is None else attempt.second,
            actual_decrease=None if attempt is None else attempt.actual,
            damping=outcome.damping,
            radius=outcome.radius,
            subspace_size=outcome.subspace_size,
            lowest_curvature=outcome.lowest_curvature,
            highest_curvature=outcome.highest_curvature,
            is_escape=attempt is not None and attempt.is_escape,
            num_products=walk.num_products,
            gradient_equivalents=walk.gradients_spent,
            seconds=seconds,
            is_accepted=outcome.is_accepted,
            reason=outcome.reason,
        )


def no_decrease(what: str, last: float, attempt: Attempt) -> str:
    """Why none of several attempts was accepted."""
    lost = ", where the step drowns in the rounding of the parameters" if attempt.is_lost else ""
    return f"no decrease at any of the {what} {last:.2g}{lost}"
