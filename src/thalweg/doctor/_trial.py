"""Trials: short trainings on copies, with the same seeds, data order and number of steps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from math import inf, isfinite
from statistics import fmean
from time import perf_counter

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg._batch import Batch, num_samples
from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg._reading import RandomState, reading
from thalweg._recipe import Scheduling, set_mode, take_step
from thalweg._reduction import Reduction
from thalweg._sampling import drawn
from thalweg._score import Score, score
from thalweg._training import born, described, parameters_of, threads, without_leftover
from thalweg.doctor._marks import SETTLING, Mark, Marks

CURVE_POINTS = 60
"""A curve keeps the means of the training loss over this many stretches of a run."""

LAST = 5
"""Stretches at least whose mean is the training loss at the end, if they are no third of all."""

NUM_PARTS = 4
"""Of the held-out data, scored one after the other where losses are averaged: together they cost
one more score."""


@dataclass(frozen=True)
class Plan:
    """What every trial of an examination has in common.

    Args:
        num_steps: optimizer steps.
        batch_size: samples a step.
        held_out: the batches that scores are taken on.
        reduction: how the losses of batches make one number, found on the problem as handed over.
        num_threads: of the trials; small steps are faster on one than divided over many.
        averaged: share of the steps, the last ones, along which held-out losses are averaged; 0 for
            the loss at the end. Where a loss swings, its last value is chance.
        takes_leftover: whether an epoch's last minibatch is taken where it is a single sample that
            batch normalisation refuses; it is left out else.
        start: of the watched training, from which every trial begins, in a data order of its own;
            None for the network as it was handed over. It is for what goes wrong late.
    """

    num_steps: int
    batch_size: int
    held_out: tuple[Batch, ...]
    reduction: Reduction
    num_threads: int
    averaged: float = 0.0
    takes_leftover: bool = False
    start: Mark | None = None

    def in_batches_of(self, size: int | None) -> Plan:
        """As many samples in all, in minibatches of another size; as it is where there is none."""
        if size is None or size == self.batch_size:
            return self
        num_steps = max(1, round(self.num_steps * self.batch_size / size))
        return replace(self, batch_size=size, num_steps=num_steps)

    def price(self, training: Problem) -> float:
        """Gradients of a sample, of a trial that does not break off, with its scores."""
        held_out = training.test_batches or self.held_out
        scores = 2 + bool(self.averaged)
        return self.num_steps * self.batch_size + scores * sum(map(num_samples, held_out)) / 3

    def stops(self, num_steps: int) -> tuple[int, ...]:
        """Steps after which a trial of so many is scored on a part of the held-out data each."""
        if not self.averaged:
            return ()
        first = (1 - self.averaged) * num_steps
        return tuple(round(first + k / NUM_PARTS * (num_steps - first)) for k in range(NUM_PARTS))

    def spared(self, begun: Marks, num_steps: int) -> int:
        """Steps that a trial of so many need not take where it goes on from these marks.

        From one stop to the next it goes on from the last mark between them, if there is one.
        """
        behind = spared = 0
        for stop in (*self.stops(num_steps), num_steps):
            spared += max(0, begun.within(stop) - behind)
            behind = max(behind, stop)
        return spared


@dataclass(frozen=True)
class Run:
    """One training on a copy.

    Args:
        seed: decides the data order, dropout, and whatever a remedy draws.
        steps: the last step of each stretch of the curve.
        losses: mean training loss over each stretch.
        before: held-out score of the model before the first step.
        after: the same at the end.
        failure: why the run broke off, "" where it did not.
        seconds: of the training itself.
        num_samples: that its steps took, each as often as it was taken; without what another
            training took before, from which it goes on.
        num_scored: held-out samples that were scored, each as often as it was.
        along: held-out losses on the way, each on a part of the data, where the plan averages them.
    """

    seed: int
    steps: tuple[int, ...]
    losses: tuple[float, ...]
    before: Score
    after: Score
    failure: str
    seconds: float
    num_samples: int = 0
    num_scored: int = 0
    along: tuple[float, ...] = ()

    @property
    def cost(self) -> float:
        """Gradients of a sample: a forward pass is a third of one."""
        return self.num_samples + self.num_scored / 3

    @property
    def final_loss(self) -> float:
        """Held-out loss at the end; inf where the run broke off."""
        return self.after.loss if not self.failure and isfinite(self.after.loss) else inf

    def level(self, most: float = inf) -> float:
        """What it is compared by: the held-out loss at the end, or its mean along the last part.

        Args:
            most: that a loss counts.
        """
        every = (*self.along, self.final_loss)
        return fmean(min(loss, most) if isfinite(loss) else most for loss in every)

    @property
    def num_steps(self) -> int:
        """Steps taken before the end or the breakdown."""
        return self.steps[-1] if self.steps else 0

    @property
    def peak(self) -> float:
        """The highest mean training loss of a stretch; inf where the run broke off."""
        return inf if self.failure or not self.losses else max(self.losses)

    @property
    def last_loss(self) -> float:
        """Mean training loss over the last stretches; inf where the run broke off."""
        if self.failure or not self.losses:
            return inf
        number = len(self.losses)
        # A short run's stretches are single minibatches, of which the last is chance.
        tail = self.losses[-max(1, number // 10, min(LAST, number // 3)) :]
        return sum(tail) / len(tail)


def train(problem: Problem, plan: Plan, seed: int, before: Score | None = None) -> Run:
    """Trains the problem's own model: give a copy. See `Trial`.

    Cost: `plan.num_steps` gradients of a minibatch, and two forward passes of the held-out data.
    """
    return Trial(problem, plan, seed, before).until(plan.num_steps)


class Trial:
    """A training of the problem's own model that can be scored, and gone on with.

    The caller's random state is put back after every leg.

    A problem with test data of its own is scored on these. Where a batch is all the data, the seed
    decides which tenth of them is left out instead of their order: runs that are all alike would
    say nothing of chance.

    Args:
        problem: a copy.
        plan: what all trials have in common.
        seed: decides the data order, and dropout.
        before: the score before the first step, taken unless it is known.
        begun: of a training with the same recipe and seed, from the network as it was handed over.
            What it took already within the plan's steps is not taken, nor counted, again.

    Raises:
        ProblemError: if there is no optimizer, or it was not made from the parameters it got; in a
            leg, if a step raises.
    """

    def __init__(
        self,
        problem: Problem,
        plan: Plan,
        seed: int,
        before: Score | None = None,
        begun: Marks | None = None,
    ) -> None:
        self.plan, self.seed = plan, seed
        generator = torch.Generator().manual_seed(seed)
        size = plan.batch_size
        self.held_out = problem.test_batches or plan.held_out
        if size >= problem.num_samples > 1:
            begun = None
            left_out = max(1, problem.num_samples // 10)
            _, rest = drawn(problem.batches, left_out, generator)
            problem = problem.with_data(rest or problem.batches)
        self.problem = problem
        self.num_scored = sum(map(num_samples, self.held_out)) if before is None else 0
        with reading(), threads(plan.num_threads):
            torch.manual_seed(seed)
            self.optimizer = made_optimizer(problem)
            self.schedule = Scheduling(problem, self.optimizer, size)
            if (start := plan.start) is not None:
                begun = None
                self.schedule.pass_over(round(start.num_steps * start.batch_size / size))
                start.hand_on(problem.model, self.optimizer)
            self.before = before or score(problem, self.held_out, plan.reduction)
            self.random = RandomState.now()
        batches = problem.minibatches(size, generator)
        takes_all = size == 1 or plan.takes_leftover
        self.batches = batches if takes_all else without_leftover(batches, problem.model)
        self.values: list[float] = []
        self.failure = ""
        self.seconds = 0.0
        self.num_given = 0
        self.begun = begun

    def until(self, num_steps: int) -> Run:
        """Goes on until so many steps have been taken in all, and scores it."""
        along = list[float]()
        with reading(), threads(self.plan.num_threads):
            self.random.put_back()
            stops = self.plan.stops(num_steps)
            for stop, part in zip(stops, self._parts, strict=False):
                if not self.failure and len(self.values) < stop:
                    self._leg(stop)
                    along.append(self._scored(part).loss)
            self._leg(num_steps)
            after = self._scored(self.held_out)
            self.random = RandomState.now()
        steps, losses = _curve(self.values, num_steps)
        return Run(
            self.seed,
            steps,
            losses,
            self.before,
            after,
            self.failure,
            self.seconds,
            (len(self.values) - self.num_given) * self.plan.batch_size,
            self.num_scored,
            tuple(along),
        )

    def _leg(self, num_steps: int) -> None:
        """Steps until there are so many in all, or it breaks off."""
        self._skip(num_steps)
        # The model may be in evaluation mode for the reading; training has a mode of its own.
        set_mode(self.problem)
        start = perf_counter()
        averages = Averages(self.problem.model)
        while not self.failure and len(self.values) < num_steps:
            if len(self.values) == max(0, num_steps - SETTLING):
                averages.begin()
            batch = next(self.batches, None)
            if batch is None:
                break
            self._step(batch)
        averages.end()
        self.seconds += perf_counter() - start

    def _scored(self, held_out: Sequence[Batch]) -> Score:
        if self.failure:
            return Score(inf, self.before.accuracy and 0.0)
        self.num_scored += sum(map(num_samples, held_out))
        return score(self.problem, held_out, self.plan.reduction)

    @cached_property
    def _parts(self) -> tuple[Sequence[Batch], ...]:
        """The held-out data in parts, the same for every trial of as many samples."""
        size = -(-sum(map(num_samples, self.held_out)) // NUM_PARTS)
        generator = torch.Generator().manual_seed(0)
        parts, rest = list[Sequence[Batch]](), tuple(self.held_out)
        while rest:
            part, rest = drawn(rest, size, generator)
            parts.append(part)
        return tuple(parts)

    def _skip(self, num_steps: int) -> None:
        """Takes over what another training took already, as far as that lies within these steps."""
        mark = self.begun.before(num_steps) if self.begun else None
        number = mark.num_steps - len(self.values) if mark else 0
        if mark is None or number <= 0:
            return
        self.schedule.pass_over(number)
        mark.put_on(self.problem.model, self.optimizer)
        mark.random.put_back()
        self.values = list(mark.losses)
        self.num_given += number
        self.batches = islice(self.batches, number, None)

    def _step(self, batch: Batch) -> None:
        step = len(self.values)
        loss = take_step(self.problem, batch, self.optimizer, f"step {step} of a trial")
        if not torch.isfinite(loss):
            place = born(self.problem, batch)
            self.failure = f"the loss is {float(loss)} at step {step}, born in {place}"
            return
        self.schedule.step()
        self.values.append(float(loss))


class Averages:
    """Statistics of batch normalisation, averaged over the last steps of a trial instead of all.

    A trial is so short that the running ones still hold what they began with, which says nothing of
    the training. Steps do not depend on them in training mode; elsewhere they are left as they are.

    Source: Wu, Johnson 2021, "Rethinking batch in batch normalization", section 3, averages with
    the parameters held; over the last steps they cost nothing.
    """

    def __init__(self, model: nn.Module) -> None:
        self.momenta = {
            module: module.momentum
            for module in model.modules()
            if isinstance(module, _BatchNorm) and module.training and module.track_running_stats
        }

    def begin(self) -> None:
        """Forgets what was averaged so far, and averages evenly from now on."""
        for module in self.momenta:
            module.reset_running_stats()
            module.momentum = None

    def end(self) -> None:
        """Back to the momenta that they had."""
        for module, momentum in self.momenta.items():
            module.momentum = momentum


def made_optimizer(problem: Problem) -> torch.optim.Optimizer:
    """The problem's optimizer on its own model's trainable parameters.

    Raises:
        ProblemError: see `train`.
    """
    if problem.optimizer is None:
        raise ProblemError("a trial needs Problem(..., optimizer=lambda params: ...)")
    if isinstance(problem.optimizer, torch.optim.Optimizer):
        name = type(problem.optimizer).__name__
        raise ProblemError(
            f"the problem's optimizer is made already, of type {name}, and would train your own "
            f"model; give a function: optimizer=lambda params: torch.optim.{name}(params, ...)"
        )
    # Of a network that is frozen throughout its settings are read all the same.
    own = parameters_of(problem.model) or [nn.Parameter(torch.zeros(1))]
    try:
        optimizer = problem.optimizer(own)
    except Exception as error:
        raise ProblemError(
            f"the problem's optimizer raised {described(error)}; give a function of the parameters "
            f"alone: optimizer=lambda params: torch.optim.SGD(params, lr=0.1)"
        ) from error
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise ProblemError(
            f"the problem's optimizer returned a {type(optimizer).__name__}; give a function of "
            f"the parameters: optimizer=lambda params: torch.optim.SGD(params, lr=0.1)"
        )
    known = {id(p) for p in own}
    if any(id(p) not in known for group in optimizer.param_groups for p in group["params"]):
        raise ProblemError(
            "the problem's optimizer holds parameters that it was not given; make it from its "
            "argument: optimizer=lambda params: torch.optim.SGD(params, lr=0.1)"
        )
    return optimizer


def _curve(values: Sequence[float], num_steps: int) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """The means of stretches of equal length, the same stretches for runs of equal plan."""
    length = max(1, -(-num_steps // CURVE_POINTS))
    ends = [min(i + length, len(values)) for i in range(0, len(values), length)]
    means = [
        sum(values[i : i + length]) / len(values[i : i + length])
        for i in range(0, len(values), length)
    ]
    return tuple(ends), tuple(means)
