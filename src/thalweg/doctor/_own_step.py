"""The gradient that a step of one's own uses, beside that of the loss that was handed over."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from math import isfinite
from statistics import median
from typing import ClassVar

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._reading import RandomState, reading
from thalweg._recipe import set_mode, take_step
from thalweg._training import threads
from thalweg.doctor._trial import made_optimizer

NUM_BATCHES = 4

LIKE = 0.1
"""Of its squared norm, that a gradient may have beside the loss's and still pass for that."""

PULLED = 1e-3
"""Of it, from which on a pull to zero is more than rounding."""


TINY = 1e-150
"""Norm below which a gradient is none."""

TIMES = 5.0
"""From which on it is another one by its scale."""


@dataclass(frozen=True)
class OwnStep:
    """g = a ∇L + c θ + rest, fitted to the gradient g that the optimizer is given.

    In the median of some minibatches, all at the parameters as they were handed over, ∇L of the
    same minibatches with the same random numbers: their mean where g is gathered from several.

    Args:
        scale: a; 1 where it is the loss's own.
        pull: c, the rate of a weight decay that is part of the gradient [loss/param²].
        rest: ‖rest‖²/‖g‖².
    """

    scale: float
    pull: float
    rest: float

    cost: ClassVar[int] = 2 * NUM_BATCHES
    """Gradients of a minibatch."""

    @property
    def is_another(self) -> bool:
        """Whether another gradient than the loss's is used, or a pull beside it."""
        return self.rest > LIKE or self.pull > 0 or self.is_scaled

    @property
    def is_scaled(self) -> bool:
        """Whether it is the loss's, but many times larger or smaller, or turned round."""
        is_like = self.rest <= LIKE and self.pull == 0
        return is_like and not 1 / TIMES < self.scale < TIMES

    @classmethod
    def of(cls, problem: Problem, batch_size: int, num_threads: int) -> OwnStep | None:
        """Of a problem's step; None where it is the usual one, or cannot be set beside a loss."""
        if problem.step is None or problem.loss is None or not problem.loss_takes_target:
            return None
        copied = problem.copied()
        with reading(), threads(num_threads):
            set_mode(copied)
            look = _Look(copied, made_optimizer(copied))
            stream = copied.minibatches(batch_size, torch.Generator().manual_seed(0))
            try:
                found = [look.at(batch) for batch in islice(stream, NUM_BATCHES)]
            except (ThalwegError, RuntimeError):
                return None
        fits = [fit for fit in found if fit is not None]
        if not fits:
            return None
        scale, pull, rest = (median(values) for values in zip(*fits, strict=True))
        return cls(scale, pull, rest)


class _Look:
    """A step of one's own, taken from the same parameters again and again."""

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer) -> None:
        self.problem, self.optimizer = problem, optimizer
        given = (p for group in optimizer.param_groups for p in group["params"])
        self.params = [p for p in given if p.requires_grad]
        self.start = [p.detach().clone() for p in self.params]
        self.used: list[Tensor] = []
        # Summed over the minibatches since the optimizer's last step.
        self.own = [torch.zeros_like(p) for p in self.params]
        self.num_summed = 0

    def at(self, batch: Batch) -> tuple[float, float, float] | None:
        """The fit of a minibatch's gradient; None where the optimizer takes no step after it."""
        self.used = []
        state = RandomState.now()
        loss = self.problem.evaluate(self.problem.model, batch).loss
        for own, gradient in zip(
            self.own, torch.autograd.grad(loss, self.params, allow_unused=True), strict=True
        ):
            own += 0.0 if gradient is None else gradient
        self.num_summed += 1
        state.put_back()
        handle = self.optimizer.register_step_pre_hook(self._before_step)
        try:
            take_step(self.problem, batch, self.optimizer, "a step")
        finally:
            handle.remove()
        if not self.used:
            return None
        fit = _fitted(self.used, [own / self.num_summed for own in self.own], self.start)
        self.num_summed = 0
        with torch.no_grad():
            for parameter, before, own in zip(self.params, self.start, self.own, strict=True):
                parameter.copy_(before)
                # What is kept by mistake is told elsewhere.
                parameter.grad = None
                own.zero_()
        return fit

    def _before_step(self, *_: object) -> None:
        if not self.used:
            self.used = [
                torch.zeros_like(p) if p.grad is None else p.grad.detach().to_dense().clone()
                for p in self.params
            ]


def _fitted(
    used: Sequence[Tensor], own: Sequence[Tensor], at: Sequence[Tensor]
) -> tuple[float, float, float] | None:
    """Least squares over all parameters; None where nothing is used, or it is not finite."""
    columns = (own, at)
    gram = torch.tensor([[_dot(a, b) for b in columns] for a in columns], dtype=torch.float64)
    side = torch.tensor([_dot(a, used) for a in columns], dtype=torch.float64)
    whole = _dot(used, used)
    if not (isfinite(whole) and whole > 0 and bool(gram.isfinite().all())):
        return None
    # Gradients and parameters may be of very different size.
    size = gram.diagonal().sqrt().clamp_min(TINY)
    solution = torch.linalg.pinv(gram / size / size[:, None], hermitian=True) @ (side / size)
    rest = max(whole - float(side / size @ solution), 0.0) / whole
    is_pulled = float(solution[1]) > 0 and float(solution[1]) ** 2 > PULLED * whole
    scale, pull = (solution / size).tolist()
    return scale, pull if is_pulled else 0.0, rest


def _dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    return sum(float((a.double() * b.double()).sum()) for a, b in zip(left, right, strict=True))
