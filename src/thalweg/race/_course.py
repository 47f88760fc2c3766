"""Course: what a contender runs on: the loss, counted and timed, until the budget is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor, nn

from thalweg._batch import Batch, call_of, concatenate, num_samples, take
from thalweg._budget import Budget
from thalweg._evaluation import Evaluation
from thalweg._loss import logits_of
from thalweg._problem import Problem
from thalweg._training import born, parameters_of, without_leftover
from thalweg.optim import StepRecord
from thalweg.race._clock import Clock
from thalweg.race._judge import Judge
from thalweg.race._trial import Mark
from thalweg.race._watch import Watch

RESOLUTION = 1.05
"""A run is read each time that its cost has grown by this factor; what it ends within counts."""

NEAR = 10.0
"""From this many times the target on, a run on all data is read at every step."""

FORWARD = 1 / 3
"""A forward pass in gradients, by count of operations."""


class OverError(Exception):
    """The budget of a run is spent, or its target reached: a run ends so."""


class DivergedError(Exception):
    """The loss is not finite where a step begins."""


@dataclass(frozen=True)
class Terms:
    """What all runs of a race have in common.

    Args:
        budget: of every single run.
        batch_size: samples a step; None for all of them at each.
        target: a training loss to reach, None for none.
        stops_at_target: whether a run ends there.
        num_threads: of torch's.
        resolution: see `RESOLUTION`.
        max_steps: after which a run ends at the latest; None for the budget alone.
        checkpoints: costs at which a run is read besides, ascending.
        is_processor_time: whether seconds are the processor's, in the place of wall time.
    """

    budget: Budget
    batch_size: int | None
    target: float | None = None
    stops_at_target: bool = False
    num_threads: int = 1
    resolution: float = RESOLUTION
    max_steps: int | None = None
    checkpoints: tuple[float, ...] = ()
    is_processor_time: bool = False


class Course:
    """The loss of one run, step by step, its cost, and what was read along the way.

    A contender takes what it needs of the following, and the course counts it:

        for _ in course.steps():        # draws a minibatch, or takes all data, at each turn
            course.gradient()           # into .grad: 1 gradient; course.loss() alone: a third
            optimizer.step()

    Args:
        problem: its model is trained; give a copy.
        terms: what all runs have in common.
        judge: reads the model.
        seed: of the order of the data.
        watch: reads the sharpness along the way; None for not.
    """

    def __init__(
        self, problem: Problem, terms: Terms, judge: Judge, seed: int, watch: Watch | None = None
    ) -> None:
        self.problem = problem
        self.model: nn.Module = problem.model
        self.params = parameters_of(problem.model)
        self.terms = terms
        self.num_steps = 0
        self.gradients = 0.0
        self.marks: list[Mark] = []
        self.records: list[StepRecord] = []
        self.optimizer: torch.optim.Optimizer | None = None
        self._judge = judge
        self._watch = watch
        self._size = problem.num_samples
        self._takes_target = problem.loss_takes_target
        self._generator = torch.Generator().manual_seed(seed)
        self._stream: Iterator[Batch] | None = None
        self._lowest = inf
        self._is_new = True
        self.take_all()
        if terms.batch_size is not None and terms.batch_size < self._size:
            endless = problem.minibatches(terms.batch_size, self._generator)
            self._stream = without_leftover(endless, problem.model)
            self._is_whole = False
        self._clock = self._fresh_clock()

    # -- the data of a step -----------------------------------------------------------------

    def take_all(self) -> None:
        """All training data at each step from now on, for contenders that cannot do with less."""
        try:
            batches: tuple[Batch, ...] = (concatenate(self.problem.batches),)
        except ValueError:  # ragged ones stay as they are
            batches = self.problem.batches
        self.here = self.problem.with_data(batches)
        # Known already, and no forward pass to be paid for.
        vars(self.here)["reduction"] = self._judge.reduction
        self._share = 1.0
        self._stream, self._is_whole = None, True

    @property
    def batches(self) -> Sequence[Batch]:
        """The data of this step."""
        return self.here.batches

    # -- the loss, counted ------------------------------------------------------------------

    def loss(self) -> Tensor:
        """The loss of this step's data, with its graph. Cost: ⅓ of a gradient over them."""
        self.spend(FORWARD)
        passes = [self._pass(batch) for batch in self.batches]
        loss = passes[0].loss
        if len(passes) > 1:
            pairs = zip(self.batches, passes, strict=True)
            counts = [self._judge.reduction.count(batch, each.output) for batch, each in pairs]
            weights = self._judge.reduction.weights(counts)
            weighed = [w * each.loss for w, each in zip(weights, passes, strict=True)]
            loss = torch.stack(weighed).sum()
        self.seen(float(loss.detach()))
        return loss

    def _pass(self, batch: Batch) -> Evaluation:
        """As a plain training loop evaluates it: what can be refused was refused before."""
        if self.problem.loss is None:
            return self.problem.evaluate(self.model, batch)
        call = call_of(batch, self.model)
        output = self.model(*call.args, **call.kwargs)
        compared = (logits_of(output), call.target)[: 1 + self._takes_target]
        return Evaluation(self.problem.loss(*compared).reshape(()), output)

    def gradient(self, *, creates_graph: bool = False) -> Tensor:
        """The loss of this step's data, and its gradient in `.grad`. Cost: 1 gradient over them."""
        for p in self.params:
            p.grad = None
        loss = self.loss()
        self.spend(1 - FORWARD)
        loss.backward(create_graph=creates_graph)
        return loss.detach()

    def spend(self, gradients: float) -> None:
        """Counts work over this step's data that was done elsewhere, in gradients over them."""
        self.gradients += gradients * self._share

    def seen(self, loss: float, *, is_probe: bool | None = None) -> None:
        """Takes notice of the loss of this step's data where the parameters are now.

        A probe, of a line search for instance, on all data that is lower than anything before
        counts as a place reached.

        Args:
            loss: the value.
            is_probe: whether it is more than what the step begins at; None for all but the first.

        Raises:
            DivergedError: if a step begins at a loss that is not finite.
            OverError: if the budget is spent at a probe.
        """
        if is_probe is None:
            is_probe = not self._is_new
        self._is_new = False
        if not is_probe and not isfinite(loss):
            with self._clock.paused():
                place = born(self.here, self.batches[0])
            raise DivergedError(f"the loss is {loss} at step {self.num_steps}, born in {place}")
        is_lower = loss < self._lowest
        self._lowest = min(self._lowest, loss) if isfinite(loss) else self._lowest
        if is_probe and self._is_whole:
            if is_lower:
                self._read_if_due()
            if self.is_over:
                raise OverError

    def arrives_at(self, loss: float) -> None:
        """Tells the loss at which a step ended, where a method knows it at no further cost."""
        self._lowest = min(self._lowest, loss) if isfinite(loss) else self._lowest

    # -- steps ------------------------------------------------------------------------------

    def begin(self) -> None:
        """Starts the clock, with the model as it is."""
        self._clock = self._fresh_clock()
        self._read()

    def _fresh_clock(self) -> Clock:
        device, is_of_processor = self.params[0].device, self.terms.is_processor_time
        return Clock(device, is_of_processor=is_of_processor)

    def steps(self, growth: float = 1.0, most: float = 1.0) -> Iterator[int]:
        """The steps, by number, until the budget is spent. The body takes one step.

        Args:
            growth: factor by which a minibatch is larger than the one before.
            most: share of the data up to which they grow.
        """
        if self._stream is not None and growth != 1.0:
            self._stream = self._growing(growth, most)
        while True:
            if self._stream is not None:
                batch = next(self._stream)
                self.here = self.problem.with_data([batch])
                self._share = num_samples(batch) / self._size
            yield self.num_steps
            self.stepped()

    def _growing(self, growth: float, share: float) -> Iterator[Batch]:
        """Minibatches in random order, epoch after epoch, each larger than the last."""
        assert self.terms.batch_size is not None
        (pool,) = self.here.batches
        device = self.params[0].device
        order = torch.empty(0, dtype=torch.long)
        size = float(self.terms.batch_size)
        most = min(max(int(size), round(share * self._size)), self._size)
        while True:
            count = min(int(size), most)
            while len(order) < count:
                order = torch.cat([order, torch.randperm(self._size, generator=self._generator)])
            yield take(pool, order[:count].to(device))
            order, size = order[count:], size * growth

    def stepped(self, record: StepRecord | None = None) -> None:
        """Tells that a step was taken, for contenders that run their own loop.

        Raises:
            OverError: if the budget is spent, or the target reached where runs end there.
        """
        self.num_steps += 1
        if record is not None:
            self.records.append(record)
        self._is_new = True
        self._read_if_due()
        if self.is_over:
            raise OverError

    @property
    def share(self) -> float:
        """The share of the budget that is spent."""
        # Thirds of gradients add up to a whole but for rounding.
        return self._spent * (1 + 1e-12) / self.terms.budget.amount

    @property
    def is_over(self) -> bool:
        """Whether the run has to end."""
        if self.terms.max_steps is not None and self.num_steps >= self.terms.max_steps:
            return True
        target = self.terms.target if self.terms.stops_at_target else None
        return self.share >= 1 or (target is not None and self.marks[-1].loss <= target)

    def end(self) -> None:
        """Reads the model as the run left it, unless that was done already."""
        if self.marks[-1].step != self.num_steps or self.marks[-1].gradients != self.gradients:
            self._read()

    @property
    def final(self) -> Mark:
        """The last mark within the budget: what a step reached far beyond it does not count."""
        most = self.terms.budget.amount * self.terms.resolution
        is_seconds = self.terms.budget.is_seconds
        within = [mark for mark in self.marks if mark.spent(is_seconds) <= most]
        return within[-1] if within else self.marks[0]

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Its body takes no time: for what is no part of a contender's work."""
        with self._clock.paused():
            yield

    @property
    def _spent(self) -> float:
        return self._clock.seconds if self.terms.budget.is_seconds else self.gradients

    def _read_if_due(self) -> None:
        """Reads the model where the cost has grown enough, or the target is near."""
        last = self.marks[-1]
        if last.gradients == self.gradients:
            return
        spent, before = self._spent, last.spent(self.terms.budget.is_seconds)
        target = self.terms.target
        is_near = (
            target is not None
            and self._is_whole
            and last.loss > target
            and min(self._lowest, last.loss) <= NEAR * target
        )
        is_passed = any(before < cost <= spent * (1 + 1e-12) for cost in self.terms.checkpoints)
        if is_near or is_passed or spent >= before * self.terms.resolution or self.share >= 1:
            self._read()

    def _read(self) -> None:
        with self._clock.paused():
            loss, held_out = self._judge(self.problem)
            self.marks.append(
                Mark(
                    step=self.num_steps,
                    seconds=self._clock.seconds,
                    processor_seconds=self._clock.processor_seconds,
                    gradients=self.gradients,
                    loss=loss,
                    held_out_loss=held_out.loss if held_out else None,
                    accuracy=held_out.accuracy if held_out else None,
                )
            )
            if self._watch is not None:
                self._watch.look(self.marks[-1], self.share, self.optimizer)
