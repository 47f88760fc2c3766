"""Training by somebody's own recipe: their mode, their step, their clipping, their schedule."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from thalweg._batch import Batch, num_samples
from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg._training import described

EVERY_STEP = (lr_scheduler.OneCycleLR, lr_scheduler.CyclicLR)
"""Schedules that torch's documentation steps after every batch; the others after every epoch."""


def set_mode(problem: Problem) -> None:
    """Puts the problem's own model into the mode that they train in."""
    if problem.mode is not None:
        problem.model.train(problem.mode)


def take_step(
    problem: Problem, batch: Batch, optimizer: torch.optim.Optimizer, where: str
) -> Tensor:
    """One training step on the problem's own model; the loss of the batch before it, detached.

    A loss that is not finite takes no step, so that the place of its birth can still be found;
    with a step of their own that is theirs to decide.

    Raises:
        ProblemError: if the model, the loss or the step raises.
    """
    if problem.step is not None:
        return _own_step(problem, batch, optimizer, where)
    loss = problem.evaluate(problem.model, batch, where).loss
    if not torch.isfinite(loss):
        return loss.detach()
    try:
        optimizer.zero_grad()
        loss.backward()
        if problem.clip_norm is not None:
            nn.utils.clip_grad_norm_(problem.model.parameters(), problem.clip_norm)
        optimizer.step()
    except Exception as error:
        raise ProblemError(
            f"{where} raised {described(error)}; trials call loss.backward() and "
            f"{type(optimizer).__name__}.step() without a closure: name an optimizer that steps "
            f"so, and see that the model can be trained by hand"
        ) from error
    return loss.detach()


def _own_step(
    problem: Problem, batch: Batch, optimizer: torch.optim.Optimizer, where: str
) -> Tensor:
    assert problem.step is not None
    try:
        returned = problem.step(problem.model, batch, optimizer)
    except Exception as error:
        raise ProblemError(
            f"{where} raised {described(error)} in the step of your own; see that "
            f"step(model, batch, optimizer) runs by hand on a copy of the model"
        ) from error
    loss = _as_loss(returned)
    if loss is None:
        # The step keeps its loss to itself: it is read afterwards, without a trace.
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            loss = problem.evaluate(problem.model, batch, where).loss
    return loss.detach()


def _as_loss(returned: Any) -> Tensor | None:
    if isinstance(returned, Tensor) and returned.numel() == 1:
        return returned.detach().reshape(())
    is_number = isinstance(returned, int | float) and not isinstance(returned, bool)
    return torch.tensor(float(returned)) if is_number else None


class Scheduling:
    """The steps of a problem's schedule between those of its optimizer.

    Args:
        problem: with the schedule; without one nothing is done.
        optimizer: whose settings it changes.
        batch_size: samples a step.

    Attributes:
        is_known: there is none, or one of torch's own, which depends on how often it was stepped
            and on nothing else.

    Raises:
        ProblemError: if the schedule cannot be made from the optimizer.
    """

    def __init__(self, problem: Problem, optimizer: torch.optim.Optimizer, batch_size: int) -> None:
        self._schedule = None if problem.schedule is None else _made(problem.schedule, optimizer)
        kind = type(self._schedule)
        self.is_known = self._schedule is None or kind.__module__.startswith("torch.optim.")
        self._every = 1 if kind in EVERY_STEP else steps_in_epoch(problem, batch_size)
        self._num_steps = 0

    def step(self) -> None:
        """What follows a step of the optimizer."""
        self._num_steps += 1
        if self._schedule is not None and self._num_steps % self._every == 0:
            self._schedule.step()

    def pass_over(self, num_steps: int) -> None:
        """As after so many steps, which were taken elsewhere."""
        with warnings.catch_warnings():
            # torch wants to see a step of this optimizer first.
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for _ in range(num_steps):
                self.step()


def _made(make: Callable[[torch.optim.Optimizer], Any], optimizer: torch.optim.Optimizer) -> Any:
    try:
        schedule = make(optimizer)
    except Exception as error:
        raise ProblemError(
            f"the schedule raised {described(error)}; give a function of the optimizer alone: "
            f"schedule=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)"
        ) from error
    if not callable(getattr(schedule, "step", None)):
        raise ProblemError(
            f"the schedule returned a {type(schedule).__name__}; give a function that returns one: "
            f"schedule=lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 10)"
        )
    return schedule


def steps_in_epoch(problem: Problem, batch_size: int) -> int:
    """Optimizer steps in a pass over the data."""
    return max(1, -(-sum(map(num_samples, problem.batches)) // batch_size))
