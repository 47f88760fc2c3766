"""SurfaceOptimizer: what every optimizer that looks at the loss has in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg._layout import Layout
from thalweg._problem import Problem
from thalweg.optim._metric import Identity, Metric
from thalweg.optim._objective import ClosureObjective, Objective, ProblemObjective
from thalweg.optim._record import StepRecord
from thalweg.optim._walk import Attempt, Walk
from thalweg.surface import HESSIAN, Curvature

Closure = Callable[[], Tensor]


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


class SurfaceOptimizer(torch.optim.Optimizer, ABC):
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
        seed: int = 0,
    ) -> None:
        if not lr >= 0.0:
            raise OptimizerError(f"lr={lr}; give a number of 0 or more, 1 for the full step")
        super().__init__(params, {"lr": lr, "maximize": maximize})
        self._foreign = frozenset(vars(self))
        self.record: StepRecord | None = None
        self.curvature = curvature
        self.metric = Identity() if metric is None else metric
        self.seed = seed
        self._bound: Problem | None = None
        self._is_checked = False

    @abstractmethod
    def _advance(self, walk: Walk) -> Outcome:
        """Takes one step; the parameters are left where the outcome says."""

    def _begin(self) -> None:
        """Puts into `memory` what the method remembers, as it is before the first step."""

    def bind(
        self,
        model: nn.Module | Problem,
        loss: Callable[..., Tensor] | None = None,
        batch: Any = None,
    ) -> SurfaceOptimizer:
        """Hands over the loss as a model, a loss function and data: what `step()` descends.

        Args:
            model: the model whose parameters this optimizer has; or a `Problem`, alone, such as
                one `across_ranks()`.
            loss: as of `Problem`.
            batch: one batch or several, as of `Problem`; several are one loss, exactly weighted.

        Returns:
            The optimizer itself.

        Cost: nothing; it may be called before every step.
        """
        problem = model if isinstance(model, Problem) else Problem(model, loss, batch)
        if self._bound is None or self._bound.model is not problem.model:
            self._is_checked = False
        self._bound = problem
        return self

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
        self._prepare(params)
        objective = self._objective(closure, params)
        if objective is None:
            return None
        started = perf_counter()
        walk = Walk(objective, self._rates(params), self.curvature)
        with walk:
            if not self._is_checked:
                walk.refuse_difference()
                self._is_checked = True
            outcome = self._advance(walk)
            if not outcome.is_accepted:
                walk.retreat()
        self.memory["step"] += 1
        self.memory["metric"] = self.metric.state_dict()
        self.record = self._recorded(walk, outcome, perf_counter() - started)
        return torch.tensor(self._sign() * walk.value, dtype=params[0].dtype)

    # -- what a method remembers ------------------------------------------------------------

    @property
    def memory(self) -> dict[str, Any]:
        """What is kept between steps beside vectors; with the state of the first parameter."""
        found: dict[str, Any] = self.state[self._all_params()[0]]
        return found

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

    def generator(self) -> torch.Generator:
        """The random numbers of this step: the same again in a run that was resumed before it."""
        return torch.Generator().manual_seed(self.seed + 1_000_003 * self.memory["step"])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Takes back what `state_dict()` gave; see torch."""
        super().load_state_dict(state_dict)
        self.metric.attach(self._trainable())
        if "metric" in self.memory:
            self.metric.load_state_dict(self.memory["metric"])

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy; what is bound stays behind."""
        own = {name: value for name, value in vars(self).items() if name not in self._foreign}
        return {**super().__getstate__(), **own, "_bound": None, "_is_checked": False}

    # -- how it is done ---------------------------------------------------------------------

    def _prepare(self, params: list[nn.Parameter]) -> None:
        Layout.of({f"number {i}": p for i, p in enumerate(params)})
        if "step" not in self.memory:
            self.memory["step"] = 0
            self.metric.attach(params)
            self._begin()

    def _objective(self, closure: Closure | None, params: list[nn.Parameter]) -> Objective | None:
        if closure is not None:
            return ClosureObjective(closure, params, self._sign())
        if self._bound is not None:
            return ProblemObjective(self._bound, params, self._sign())
        if any(p.grad is not None and bool(p.grad.any()) for p in params):
            raise OptimizerError(
                f"{type(self).__name__}.step() has no loss to evaluate; give it one, "
                f"step(lambda: loss(model(x), y)), or bind(model, loss, (x, y)) before: it takes "
                f"gradients by itself, so leave loss.backward() out"
            )
        return None

    def _all_params(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    def _trainable(self) -> list[nn.Parameter]:
        return [p for p in self._all_params() if p.requires_grad]

    def _rates(self, params: list[nn.Parameter]) -> float | Float[Tensor, " n"]:
        rates = [float(g["lr"]) for g in self.param_groups for _ in g["params"]]
        chosen = [lr for p, lr in zip(self._all_params(), rates, strict=True) if p.requires_grad]
        if len(set(chosen)) == 1:
            return chosen[0]
        return torch.cat(
            [torch.full_like(p, lr).reshape(-1) for p, lr in zip(params, chosen, strict=True)]
        ).detach()

    def _sign(self) -> float:
        directions = {group["maximize"] for group in self.param_groups}
        if len(directions) > 1:
            raise OptimizerError(
                "some parameter groups have maximize=True and some have not; a step descends one "
                "loss, so set it alike in all"
            )
        return -1.0 if directions.pop() else 1.0

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
