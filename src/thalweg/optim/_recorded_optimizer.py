"""RecordedOptimizer: a torch optimizer that may be given its loss and says what each step did."""

from __future__ import annotations

from abc import ABC
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg._layout import Layout
from thalweg._problem import Problem
from thalweg.optim._closure_objective import ClosureObjective
from thalweg.optim._objective import Objective, set_aside
from thalweg.optim._problem_objective import ProblemObjective
from thalweg.optim._record import StepRecord
from thalweg.optim._walk import Walk

Closure = Callable[[], Tensor]
Some = TypeVar("Some", bound="RecordedOptimizer")


class RecordedOptimizer(torch.optim.Optimizer, ABC):
    """What all optimizers here have in common: a loss can be bound, and every step leaves a record.

    Args:
        params: parameters, or groups of them with settings of their own.
        defaults: the settings of groups that have none, `lr` and `maximize` among them.

    Raises:
        OptimizerError: if lr is negative.
    """

    def __init__(self, params: Iterable[Any], defaults: dict[str, Any]) -> None:
        if not float(defaults["lr"]) >= 0.0:
            raise OptimizerError(f"lr={defaults['lr']}; give a number of 0 or more")
        super().__init__(params, defaults)
        self._foreign = frozenset(vars(self))
        self.record: StepRecord | None = None
        self._bound: Problem | None = None
        self._seen: object = None
        self._is_taped = True
        self._is_checked = False

    def bind(
        self: Some,
        model: nn.Module | Problem,
        loss: Callable[..., Tensor] | None = None,
        batch: Any = None,
    ) -> Some:
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
        self._bound = model if isinstance(model, Problem) else Problem(model, loss, batch)
        return self

    @property
    def memory(self) -> dict[str, Any]:
        """What is kept between steps beside vectors; with the state of the first parameter."""
        first = next(p for group in self.param_groups for p in group["params"])
        found: dict[str, Any] = self.state[first]
        return found

    def __getstate__(self) -> dict[str, Any]:
        """For pickle and deepcopy; what is bound stays behind."""
        own = {
            name: value
            for name, value in vars(self).items()
            # Schedulers put a `step` on the instance that calls that of the original.
            if name not in self._foreign and not hasattr(type(self), name)
        }
        fresh = {"_bound": None, "_seen": None, "_is_taped": True, "_is_checked": False}
        return {**super().__getstate__(), **own, **fresh}

    def _objective(self, closure: Closure | None, params: list[nn.Parameter]) -> Objective | None:
        """What there is to descend; None where no loss was given."""
        seen = ClosureObjective if closure is not None else self._bound and self._bound.model
        if seen is not self._seen:
            self._seen, self._is_taped, self._is_checked = seen, True, False
        if seen is not None:
            refuse_mixture(params)
        if closure is not None:
            return ClosureObjective(closure, params, self._sign(), is_taped=self._is_taped)
        if self._bound is not None:
            return ProblemObjective(self._bound, params, self._sign(), is_taped=self._is_taped)
        return None

    def _meant(self, closure: Closure | None) -> Closure | None:
        """The closure, unless it returns nothing and there is a loss bound.

        Lightning hands over one of its own where the user gave none.
        """
        if closure is None or self._bound is None:
            return closure
        with set_aside(self._trainable()):
            found: object = closure()
        return None if found is None else closure

    def _refuse_gradients(self, params: list[nn.Parameter]) -> None:
        """Gradients that are there and not all zero were meant to be used."""
        if any(p.grad is not None and bool(p.grad.any()) for p in params):
            raise OptimizerError(
                f"{type(self).__name__}.step() has no loss to evaluate; give it one, "
                f"step(lambda: loss(model(x), y)), or bind(model, loss, (x, y)) before: it takes "
                f"gradients by itself, so leave loss.backward() out"
            )

    def _check(self, walk: Walk) -> None:
        """Refuses, once for each model, a loss that differs between two calls at one place."""
        self._is_taped = walk.objective.is_taped
        if not self._is_checked:
            walk.refuse_difference()
            self._is_checked = True

    def _all_params(self) -> list[nn.Parameter]:
        return [p for group in self.param_groups for p in group["params"]]

    def _trainable(self) -> list[nn.Parameter]:
        return [p for p in self._all_params() if p.requires_grad]

    def _sign(self) -> float:
        directions = {group["maximize"] for group in self.param_groups}
        if len(directions) > 1:
            raise OptimizerError(
                "some parameter groups have maximize=True and some have not; a step descends one "
                "loss, so set it alike in all"
            )
        return -1.0 if directions.pop() else 1.0

    def _is_still(self) -> bool:
        """Whether every learning rate is 0."""
        return all(float(group["lr"]) == 0.0 for group in self.param_groups)

    def _is_asked_for_state(self, closure: Closure | None) -> bool:
        """Whether a checkpoint loader wants the state built: no rate, and gradients all zero.

        torch.distributed.checkpoint calls `step()` so, and means no step.
        """
        return (
            closure is None
            and self._is_still()
            and all(p.grad is not None and not p.grad.any() for p in self._trainable())
        )


def refuse_mixture(params: list[nn.Parameter]) -> None:
    """Refuses parameters that do not make one vector.

    Raises:
        LayoutError: if they mix dtypes or devices, or are not real.
    """
    Layout.of({f"number {i}": p for i, p in enumerate(params)})
