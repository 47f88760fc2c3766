"""watch: one training by the whole recipe, on a copy, under instruments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from statistics import fmean

import torch

from thalweg._errors import ProblemError, ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg._recipe import scheduling, set_mode, steps_in_epoch, take_step
from thalweg._training import born, threads, without_leftover
from thalweg.doctor._instruments import Instruments, Use
from thalweg.doctor._trial import made_optimizer

CLOSE_LOOK = 24
"""Steps that every instrument looks at; after them one in `EVERY`."""

EVERY = 8

TAIL = 0.2
"""The loss "at the end" is the mean over this share of the steps."""


@dataclass(frozen=True)
class Watched:
    """What was seen while a copy was trained.

    Args:
        problem: the copy, as the training left it.
        optimizer: with the state that the training left.
        losses: of each minibatch, before its step [loss].
        steps_in_epoch: steps in a pass over the data.
        max_steps: that were to be watched at most.
        failure: why it broke off, "" where it did not.
        error: what was raised, None where nothing was.
        uses: what the optimizer used of the gradients, step by step.
        num_optimizer_steps: steps that the optimizer took.
        ran: modules of batch normalisation and dropout that ran with gradients on.
        in_eval: those that did so in evaluation mode.
        arrived: parameters that a gradient reached, even once.
        given: parameters that the optimizer has, with a learning rate that is not zero.
        unmoved: trainable parameters that are to the last bit what they were.
    """

    problem: Problem
    optimizer: torch.optim.Optimizer | None
    losses: tuple[float, ...]
    steps_in_epoch: int
    max_steps: int
    failure: str
    error: ThalwegError | None
    uses: tuple[Use, ...]
    num_optimizer_steps: int
    ran: frozenset[str]
    in_eval: frozenset[str]
    arrived: frozenset[str]
    given: frozenset[str]
    unmoved: frozenset[str]

    @property
    def num_steps(self) -> int:
        """Steps watched."""
        return len(self.losses)

    @property
    def end(self) -> float:
        """Mean training loss at the end; inf where the training broke off."""
        return inf if self.failure or not self.losses else tail(self.losses)

    @property
    def peak(self) -> float:
        """The highest mean over an epoch's quarter, inf where the training broke off."""
        return inf if self.failure or not self.losses else max(stretches(self.losses))


def tail(losses: Sequence[float]) -> float:
    """Mean over the last steps."""
    return fmean(losses[-max(1, round(TAIL * len(losses))) :])


def stretches(losses: Sequence[float], number: int = 20) -> list[float]:
    """Means over that many stretches."""
    length = max(1, len(losses) // number)
    return [fmean(losses[i : i + length]) for i in range(0, len(losses), length)]


def watch(
    problem: Problem,
    *,
    batch_size: int,
    max_steps: int,
    seed: int,
    num_threads: int,
    is_enough: Callable[[Sequence[float]], bool] = lambda losses: False,
) -> Watched:
    """Trains a copy of the problem's model by its recipe and keeps what the instruments saw.

    Whatever breaks is kept, not raised: it is what is looked for.

    Args:
        problem: what is trained, with an optimizer.
        batch_size: samples a step.
        max_steps: at most so many.
        seed: decides data order and dropout.
        num_threads: of the training.
        is_enough: asked after every epoch with the losses so far: True stops the watch.

    Raises:
        ProblemError: if the optimizer or the schedule cannot be made, or a step of their own trains
            another model than the one it is given.

    Cost: a gradient of a minibatch a step.
    """
    copied = problem.copied()
    generator = torch.Generator().manual_seed(seed)
    with reading(), threads(num_threads):
        torch.manual_seed(seed)
        optimizer = made_optimizer(copied)
        after_step = scheduling(copied, optimizer, batch_size)
        instruments = Instruments(copied.model, optimizer)
        before = {n: p.detach().clone() for n, p in copied.model.named_parameters()}
        owned = [p._version for p in problem.model.parameters()]
        set_mode(copied)
        per_epoch = steps_in_epoch(copied, batch_size)
        losses: list[float] = []
        failure, error = "", None
        batches = without_leftover(copied.minibatches(batch_size, generator), copied.model)
        if batch_size == 1:
            batches = copied.minibatches(batch_size, generator)
        with instruments.attached():
            for step, batch in enumerate(islice(batches, max_steps)):
                instruments.is_on = step < CLOSE_LOOK or step % EVERY == 0
                try:
                    loss = take_step(copied, batch, optimizer, f"step {step}")
                    after_step(step)
                except ThalwegError as raised:
                    failure, error = str(raised), raised
                    break
                if [p._version for p in problem.model.parameters()] != owned:
                    raise ProblemError(
                        "the step of your own trains another model than the one it is given; use "
                        "its arguments alone: step=lambda model, batch, optimizer: ..."
                    )
                if not torch.isfinite(loss):
                    failure = f"the loss is {float(loss)} at step {step}, born in " + born(
                        copied, batch
                    )
                    break
                losses.append(float(loss))
                if (step + 1) % per_epoch == 0 and is_enough(losses):
                    break
        after = dict(copied.model.named_parameters())
    names = {id(p): name for name, p in after.items()}
    return Watched(
        problem=copied,
        optimizer=optimizer,
        losses=tuple(losses),
        steps_in_epoch=per_epoch,
        max_steps=max_steps,
        failure=failure,
        error=error,
        uses=tuple(instruments.uses),
        num_optimizer_steps=instruments.num_steps,
        ran=frozenset(instruments.has_run),
        in_eval=frozenset(instruments.in_eval),
        arrived=frozenset(instruments.arrived),
        given=frozenset(
            names[id(p)]
            for group in optimizer.param_groups
            if float(group["lr"]) != 0
            for p in group["params"]
            if id(p) in names
        ),
        unmoved=frozenset(
            name for name, p in after.items() if p.requires_grad and torch.equal(p, before[name])
        ),
    )
