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
from thalweg._reading import RandomState, reading
from thalweg._recipe import Scheduling, set_mode, steps_in_epoch, take_step
from thalweg._training import born, threads, without_leftover
from thalweg.doctor._instruments import Instruments, Use
from thalweg.doctor._marks import Marks
from thalweg.doctor._trial import made_optimizer

CLOSE_LOOK = 24
"""Steps that every instrument looks at; after them one in `EVERY`."""

EVERY = 8

TAIL = 0.2
"""The loss "at the end" is the mean over this share of the steps."""

SETTLING, SETTLING_SAMPLES = 20, 512
"""Minibatches that the loss in evaluation mode is read on at the end, or so many samples' worth."""


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
        marks: from which a trial with the same seed goes on.
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
    marks: Marks

    @property
    def num_steps(self) -> int:
        """Steps watched."""
        return len(self.losses)

    @property
    def is_cleared(self) -> bool:
        """Whether gradients arrive, and none is left when the optimizer takes its step."""
        return bool(self.uses) and all(use.used == 0 < use.fresh for use in self.uses)

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
    return Watch(problem, batch_size, seed, num_threads).until(max_steps, max_steps, is_enough)


class Watch:
    """A training under instruments that can be left for a look, and gone on with.

    In between, the caller's random state is the caller's.
    """

    def __init__(self, problem: Problem, batch_size: int, seed: int, num_threads: int) -> None:
        self.copied, self.num_threads = problem.copied(), num_threads
        self._owned = list(problem.model.parameters())
        generator = torch.Generator().manual_seed(seed)
        with reading(), threads(num_threads):
            torch.manual_seed(seed)
            self.optimizer = made_optimizer(self.copied)
            self._schedule = Scheduling(self.copied, self.optimizer, batch_size)
            self.instruments = Instruments(self.copied.model, self.optimizer)
            is_whole = self._schedule.is_known
            self.marks = Marks(self.copied, self.optimizer, batch_size, is_whole)
            set_mode(self.copied)
            self._state = RandomState.now()
        self.steps_in_epoch = steps_in_epoch(self.copied, batch_size)
        self.losses: list[float] = []
        self.failure: str = ""
        self.error: ThalwegError | None = None
        batches = self.copied.minibatches(batch_size, generator)
        if batch_size > 1:
            batches = without_leftover(batches, self.copied.model)
        self._batches = batches

    def until(
        self,
        num_steps: int,
        max_steps: int,
        is_enough: Callable[[Sequence[float]], bool] = lambda losses: False,
    ) -> Watched:
        """Goes on until so many steps have been taken in all, and says what was seen so far.

        Args:
            num_steps: in all, with those before.
            max_steps: that are to be watched at most, later ones counted in.
            is_enough: see `watch`.

        Raises:
            ProblemError: see `watch`.
        """
        with reading(), threads(self.num_threads):
            self._state.put_back()
            with self.instruments.attached():
                is_over = bool(self.failure)
                while not is_over and len(self.losses) < num_steps:
                    is_over = self._stepped() or (
                        len(self.losses) % self.steps_in_epoch == 0 and is_enough(self.losses)
                    )
            self._state = RandomState.now()
        return self._seen(max_steps)

    def _stepped(self) -> bool:
        """Takes a step; whether the training broke off."""
        step = len(self.losses)
        batch = next(self._batches, None)
        if batch is None:
            return True
        self.instruments.is_on = step < CLOSE_LOOK or step % EVERY == 0
        versions = [p._version for p in self._owned]
        try:
            loss = take_step(self.copied, batch, self.optimizer, f"step {step}")
            self._schedule.step()
        except ThalwegError as raised:
            self.failure, self.error = str(raised), raised
            return True
        if [p._version for p in self._owned] != versions:
            raise ProblemError(
                "the step of your own trains another model than the one it is given; use "
                "its arguments alone: step=lambda model, batch, optimizer: ..."
            )
        if not torch.isfinite(loss):
            place = born(self.copied, batch)
            self.failure = f"the loss is {float(loss)} at step {step}, born in {place}"
            return True
        self.losses.append(float(loss))
        self.marks.pass_by(self.losses)
        return False

    def _seen(self, max_steps: int) -> Watched:
        names = {id(p): name for name, p in self.copied.model.named_parameters()}
        instruments = self.instruments
        return Watched(
            problem=self.copied,
            optimizer=self.optimizer,
            losses=tuple(self.losses),
            steps_in_epoch=self.steps_in_epoch,
            max_steps=max_steps,
            failure=self.failure,
            error=self.error,
            uses=tuple(instruments.uses),
            num_optimizer_steps=instruments.num_steps,
            ran=frozenset(instruments.has_run),
            in_eval=frozenset(instruments.in_eval),
            arrived=frozenset(instruments.arrived),
            given=frozenset(
                names[id(p)]
                for group in self.optimizer.param_groups
                if float(group["lr"]) != 0
                for p in group["params"]
                if id(p) in names
            ),
            marks=self.marks,
        )


def attained(watched: Watched, settled: float) -> float:
    """The loss that few steps have led to: that in evaluation mode, over many minibatches.

    Where batch normalisation or dropout ran, the lower of both: statistics that run along have not
    settled by then, and dropped units count in the other.
    """
    return min(watched.end, settled) if watched.ran else settled


def settling(batch_size: int) -> int:
    """Minibatches that `settled` reads. Each costs a third of a gradient."""
    return max(SETTLING, -(-SETTLING_SAMPLES // batch_size))


def settled(watched: Watched, batch_size: int) -> float:
    """Mean minibatch loss in evaluation mode; inf where there is none."""
    if watched.failure:
        return inf
    problem = watched.problem
    modes = [(module, module.training) for module in problem.model.modules()]
    problem.model.eval()
    try:
        mean = fmean(minibatch_losses(problem, batch_size))
        return mean if mean == mean else inf
    except ThalwegError:
        return inf
    finally:
        for module, mode in modes:
            module.training = mode


def minibatch_losses(problem: Problem, batch_size: int) -> list[float]:
    """The losses of some minibatches, all with the same parameters.

    Raises:
        ThalwegError: if the model or the loss raises.
    """
    with reading(), torch.no_grad():
        stream = problem.minibatches(batch_size, torch.Generator().manual_seed(0))
        return [
            float(problem.evaluate(problem.model, batch).loss)
            for batch in islice(stream, settling(batch_size))
        ]
