"""FirstOrder: plain optimizers, which need a gradient and nothing else."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from math import isfinite, sqrt
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._errors import LayoutError
from thalweg.optim._objective import detached, split
from thalweg.optim._record import StepRecord
from thalweg.optim._recorded_optimizer import Closure, RecordedOptimizer
from thalweg.optim._walk import Proposal, Walk, refuse_nonfinite
from thalweg.surface import HESSIAN

Memory = dict[str, Any]
"""What is remembered of one parameter."""

Change = tuple[Tensor, Memory]
"""The step of one parameter, and what is remembered of it afterwards."""


class FirstOrder(RecordedOptimizer):
    """A plain `torch.optim.Optimizer`: it takes a gradient from wherever there is one.

        loss.backward(); opt.step()               # from .grad, as torch's own
        opt.step(closure)                         # which calls backward, or only returns the loss
        opt.bind(model, loss, (x, y)).step()      # by itself

    Args:
        params: parameters, or groups of them with settings of their own.
        settings: those of groups that have none.
        measured: the record also says what the step did: the second-order prediction and the actual
            decrease. Needs a loss that can be evaluated again: `bind`, or a closure that leaves
            `backward` out. A step after which the loss is not finite is taken back then.

    Raises:
        NonFiniteError: in `step`, if the gradient is not finite; nothing has moved then.
        OptimizerError: in `step`, if it is measured and has no loss to evaluate.

    Cost: a gradient; measured, a product and a forward pass more.
    """

    def __init__(
        self, params: Iterable[Any], settings: dict[str, Any], *, measured: bool = False
    ) -> None:
        super().__init__(params, settings)
        self.measured = measured

    def _begin(self, _: nn.Parameter) -> Memory:
        """What is remembered of a parameter before its first step."""
        return {}

    @abstractmethod
    def _change(self, gradient: Tensor, memory: Memory, settings: Mapping[str, Any]) -> Change:
        """The step of one parameter down its gradient."""

    # torch declares two overloads for the two ways to call it.
    def step(self, closure: Closure | None = None) -> Tensor | None:  # type: ignore[override]
        """Takes one step.

        Args:
            closure: returns the loss, with or without having called `backward`; left out where
                gradients are there, or `bind` gave the loss.

        Returns:
            The loss before the step; None where it is not known.
        """
        started = perf_counter()
        params = self._trainable()
        closure = self._meant(closure)
        if any(p.is_complex() for p in params):
            raise LayoutError("a parameter is complex; these steps are taken on real parameters")
        self.memory.setdefault("step", 0)
        if self._is_asked_for_state(closure):
            for p in params:
                self.state[p] = {**self._begin(p), **self.state[p]}
            return None
        record = (self._measured_step if self.measured else self._plain_step)(closure, params)
        if record is None:
            return None
        self.memory["step"] += 1
        self.record = replace(record, step=self.memory["step"], seconds=perf_counter() - started)
        return None if record.loss is None else torch.tensor(record.loss, dtype=params[0].dtype)

    def _plain_step(self, closure: Closure | None, params: list[nn.Parameter]) -> StepRecord:
        loss, gradients = self._given(closure, params)
        moving = {p: g for p, g in zip(params, gradients, strict=True) if g is not None}
        gradient_norm = _norm(moving.values())
        refuse_nonfinite(0.0 if loss is None else loss, gradient_norm)
        changes = self._changes(moving)
        slope = _sum((g * changes[p][0]).sum() for p, g in moving.items())
        with torch.no_grad():
            for p, (step, memory) in changes.items():
                p.add_(step)
                self.state[p].update(memory)
        step_norm = _norm(step for step, _ in changes.values())
        return StepRecord(0, loss, gradient_norm, step_norm, -slope, gradient_equivalents=1.0)

    def _measured_step(
        self, closure: Closure | None, params: list[nn.Parameter]
    ) -> StepRecord | None:
        objective = self._objective(closure, params)
        if objective is None:
            self._refuse_gradients(params)
            return None
        walk = Walk(objective, 1.0, HESSIAN)
        with walk:
            self._check(walk)
            pieces = split(walk.gradient, params)
            changes = self._changes(dict(zip(params, pieces, strict=True)))
            step = torch.cat([changes[p][0].reshape(-1) for p in params])
            slope, bend = float(walk.gradient @ step), float(step @ walk.product(step))
            attempt = walk.attempt(Proposal(step, slope, bend))
            is_accepted = isfinite(attempt.loss)
            if not is_accepted:
                walk.retreat()
                objective.take_back()
        if is_accepted:
            for p, (_, memory) in changes.items():
                self.state[p].update(memory)
        return StepRecord(
            step=0,
            loss=self._sign() * walk.value,
            gradient_norm=walk.gradient_norm,
            step_norm=_norm([step]) if is_accepted else 0.0,
            first_order_decrease=attempt.first,
            second_order_decrease=attempt.second,
            actual_decrease=attempt.actual,
            num_products=walk.num_products,
            gradient_equivalents=walk.gradients_spent,
            is_accepted=is_accepted,
            reason="" if is_accepted else "the loss is not finite there",
        )

    def _given(
        self, closure: Closure | None, params: list[nn.Parameter]
    ) -> tuple[float | None, Sequence[Tensor | None]]:
        """The loss, where it is known, and the gradients to go down."""
        if closure is None and (objective := self._objective(None, params)) is not None:
            local = objective.local()
            if not local.gradient.any():
                objective.refuse_detached()
            return self._sign() * local.value, split(local.gradient, params)
        loss, found = _called(closure, params) if closure is not None else (None, None)
        signs = {
            p: -1.0 if group["maximize"] else 1.0
            for group in self.param_groups
            for p in group["params"]
        }
        gradients = [p.grad for p in params] if found is None else found
        return loss, [
            None if g is None else signs[p] * (g.to_dense() if g.is_sparse else g)
            for p, g in zip(params, gradients, strict=True)
        ]

    def _changes(self, moving: Mapping[nn.Parameter, Tensor]) -> dict[nn.Parameter, Change]:
        changes = {}
        with torch.no_grad():
            for group in self.param_groups:
                for p in group["params"]:
                    if p in moving:
                        memory = {**self._begin(p), **self.state[p]}
                        changes[p] = self._change(moving[p], memory, group)
        return changes


def _called(
    closure: Closure, params: list[nn.Parameter]
) -> tuple[float | None, Sequence[Tensor | None] | None]:
    """The loss of a closure, and its gradients where it has not called `backward`."""
    with torch.enable_grad(), _watched(params) as reached:
        loss = closure()
    if loss is None:  # a batch was skipped, as Lightning does
        return None, None
    value = float(loss.detach() if isinstance(loss, Tensor) else loss)
    # Without a graph it is what a trainer returns that has called backward.
    if reached or (not isinstance(loss, Tensor) or not loss.requires_grad):
        if not any(p.grad is not None for p in params):
            raise detached()
        return value, None
    gradients = torch.autograd.grad(loss, params, allow_unused=True)
    if all(gradient is None for gradient in gradients):
        raise detached()
    return value, gradients


@contextmanager
def _watched(params: list[nn.Parameter]) -> Iterator[list[Tensor]]:
    """Which parameters `backward` has reached."""
    reached: list[Tensor] = []
    handles = [p.register_post_accumulate_grad_hook(reached.append) for p in params]
    try:
        yield reached
    finally:
        for handle in handles:
            handle.remove()


def _norm(tensors: Iterable[Tensor]) -> float:
    return sqrt(_sum(torch.linalg.vector_norm(t).square() for t in tensors))


def _sum(numbers: Iterable[Tensor]) -> float:
    """Of tensors with one number each; the device is waited for once."""
    found = list(numbers)
    if not found:
        return 0.0
    is_wide = any(n.dtype == torch.float64 for n in found)
    place, dtype = found[0].device, torch.float64 if is_wide else torch.float32
    return float(torch.stack([n.to(place, dtype) for n in found]).sum())
