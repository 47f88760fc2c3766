"""What is read of a training before any curvature: data, head, levels, a watched run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from math import inf

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg._errors import NonFiniteError, ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading, shadow_of
from thalweg._recipe import steps_in_epoch
from thalweg._score import Score, score
from thalweg._training import num_threads
from thalweg.doctor._changed_data import is_finite, with_rows
from thalweg.doctor._coasting import horizon
from thalweg.doctor._head import Head, head_of
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._levels import MOST, NOTHING, Levels, levels_of
from thalweg.doctor._own_step import OwnStep
from thalweg.doctor._probe import Probe
from thalweg.doctor._sample import Sample
from thalweg.doctor._trial import Plan
from thalweg.doctor._watch import Watch, Watched, settled, tail

AFFORDED = 0.3
"""Of a budget in gradients, for the watched training: the rest is needed to prove a remedy."""

OF_THE_REST = 0.4
"""Of what is left of it, where much is spent already."""

PROBED = 0.25
"""Of a budget in gradients, for probes at most."""

WATCHED_SHARE = 0.6
"""Of the epochs that they mean to train for; a plateau may end by itself."""

SEALED_AFTER = 0.12
"""Of the steps that they mean to train for: by then, what has learned nothing for a reason that
shows at the first point will not learn."""

FOREVER, SURELY_FOREVER = 0.5, 0.2
"""Momentum that averages over this share of their steps, or more, goes wrong within that share."""

SURELY = 0.25
"""Of the steps that may be watched, at least, also where it learns from the first on."""

LONGER = 1.2
"""A training that seems stuck is watched on where it becomes so many times longer."""

FIRST_LOOK = 10
"""Steps in which a fault of the step itself shows."""

PROBED_STEPS = 60
"""A probe takes an epoch, or so many steps; where they name their epochs, no more than a share."""

PROBED_SHARE = 0.08
"""Of the steps of their training, for a probe."""

EARLY_SHARE = 0.04
"""Of the steps of their training, before the look after an epoch where epochs are short."""


class Stage(Enum):
    """How far a training was watched, and so what may be said of it."""

    FIRST_STEPS = "what shows in the data and in a few steps, however the training ends"
    FIRST_EPOCH = "what a change of the cause itself mends within the same steps"
    WHOLE = "what a training does that was watched until it learned, or long enough"


@dataclass(frozen=True)
class Observation:
    """What was seen before any curvature.

    Args:
        sample: the data as tables.
        head: how output and loss meet.
        levels: the losses that mean that nothing, or half of what can be, was learned.
        watched: a training by the whole recipe.
        settled: mean minibatch loss of the watched network at the end, in evaluation mode.
        held_out: its held-out score, None where it could not be taken.
        probe: the same with other learning rates.
        stage: how far it was watched.
        own_step: the gradient of a step of their own beside the loss's, None where it is usual.
    """

    sample: Sample
    head: Head
    levels: Levels
    watched: Watched
    settled: float
    held_out: Score | None
    probe: Probe
    stage: Stage = Stage.WHOLE
    own_step: OwnStep | None = None


class Watching:
    """Data and head read, and one training watched: first steps, first epoch, until it is clear.

    Args:
        problem: as handed over.
        training: what is trained.
        plan: of the trials.
        seed: of the training that is watched.
        ledger: what may be spent, and what was.

    Cost: at most 60 % of their epochs, or a trial where they name none; a healthy one far less.
    """

    def __init__(
        self, problem: Problem, training: Problem, plan: Plan, seed: int, ledger: Ledger
    ) -> None:
        self.training, self.plan, self.size = training, plan, plan.batch_size
        self.fraction = min(1.0, self.size / problem.num_samples)
        with ledger.measuring("data, and how output and loss meet", 0.0) as gradients:
            self.sample = Sample.of(problem)
            self.head = head_of(training, self.size)
            self.levels = levels_of(training, self.sample, self.head, self.size)
            gradients.append(0.3 + self.fraction)
        self.per_epoch = steps_in_epoch(training, self.size)
        self.most = plan.num_steps
        long = max(self.per_epoch, PROBED_STEPS)
        self.early = 0
        self.problem_steps = problem.epochs and problem.epochs * self.per_epoch
        affordable = inf
        if problem.epochs is not None:
            total = problem.epochs * self.per_epoch
            self.most = max(1, round(WATCHED_SHARE * total))
            if not ledger.budget.is_seconds:
                steps = ledger.budget.amount / self.fraction
                rest = OF_THE_REST * ledger.gradients_left / self.fraction
                self.most = min(self.most, max(FIRST_LOOK, round(min(AFFORDED * steps, rest))))
                affordable = min(PROBED * steps, rest)
            short = min(PROBED_STEPS, round(EARLY_SHARE * total))
            self.early = min(self.most, max(min(self.per_epoch, total // 4), short, 1))
            long = max(self.early, min(long, round(PROBED_SHARE * total)))
        self.own_step: OwnStep | None = None
        threads = num_threads(problem, self.size)
        self.watch = Watch(training, self.size, seed, threads)
        self.probe = Probe(training, self.size, long, seed, threads, most=affordable)

    def first_steps(self) -> Observation:
        """A few steps. Cost: 10 gradients of a minibatch, 18 with a step of their own."""
        watched = self.watch.until(min(FIRST_LOOK, self.most), self.most)
        # Not before a step of theirs was seen to train nothing but what it is given.
        self.own_step = OwnStep.of(self.training, self.size, self.watch.num_threads)
        if self.own_step is not None:
            self.watch.instruments.pull = self.own_step.pull
        return self._seen(watched, inf, None, Stage.FIRST_STEPS)

    def first_epoch(self) -> Observation | None:
        """An epoch; None where they name no epochs, so that it cannot be told how far that is."""
        if not self.early or self.watch.failure:
            return None
        watched = self.watch.until(self.early, self.most)
        seen = self._seen(watched, settled(watched, self.size), None, Stage.FIRST_EPOCH)
        probe = replace(self.probe, num_steps=self.early, is_settled=True)
        return replace(seen, probe=probe)

    def whole(self, is_explained: bool = False) -> Observation:
        """As far as it is to be watched; stops once it is clear that it learns.

        Or that it does not, where that `is_explained` by what is known already.
        """
        sealed = inf
        if is_explained and self.problem_steps is not None:
            sealed = max(3 * self.per_epoch, SEALED_AFTER * self.problem_steps)

        def is_enough(losses: Sequence[float]) -> bool:
            if len(losses) >= sealed and tail(losses) > self.levels.at(NOTHING, losses[0]):
                return True
            # One epoch may be lucky; a second confirms it.
            recent = losses[-max(self.per_epoch, 20) :]
            # What averages over many steps may overshoot as late.
            long = max(2 * self.per_epoch, SURELY * self.most, horizon(self.watch.optimizer))
            if len(losses) < long or tail(recent) > self.levels.at(MOST, losses[0]):
                return False
            return self.levels.lost_since(losses, self.per_epoch) is None

        most = self.most
        if self.problem_steps and horizon(self.watch.optimizer) >= FOREVER * self.problem_steps:
            most = min(most, max(1, round(SURELY_FOREVER * self.problem_steps)))
        watched = self.watch.until(most, most, is_enough)
        end = settled(watched, self.size)
        return self._seen(watched, end, _held_out(watched, self.plan), Stage.WHOLE)

    def on(self, gradients: float) -> Observation | None:
        """Further, by as much as that buys, or as it is to be watched at most; None for nothing.

        For a training that seems stuck for no cause that is known: a plateau may end by itself. And
        for one whose fault has yet to show its harm.
        """
        if self.problem_steps is None or self.watch.failure:
            return None
        seen = len(self.watch.losses)
        most = min(
            seen + round(gradients / self.fraction), round(WATCHED_SHARE * self.problem_steps)
        )
        if most < LONGER * seen:
            return None
        watched = self.watch.until(most, most)
        end = settled(watched, self.size)
        return self._seen(watched, end, _held_out(watched, self.plan), Stage.WHOLE)

    def _seen(
        self, watched: Watched, end: float, held_out: Score | None, stage: Stage
    ) -> Observation:
        return Observation(
            self.sample,
            self.head,
            self.levels,
            watched,
            end,
            held_out,
            self.probe,
            stage,
            self.own_step,
        )


def _held_out(watched: Watched, plan: Plan) -> Score | None:
    if watched.failure:
        return None
    try:
        with reading():
            return score(watched.problem, plan.held_out, plan.reduction)
    except (ThalwegError, RuntimeError):
        return None


def readable_form(problem: Problem) -> tuple[Problem | None, ThalwegError | None]:
    """The problem with everything held that is random in its mode, or why it cannot be read.

    Batch normalisation that has seen no data yet is read with the statistics of the data, as in
    training; dropout as in evaluation. Where a step of their own may leave out what is not finite,
    the samples that are finite are read.
    """
    form, refusal = _readable_form(problem)
    if form is None and problem.step is not None and isinstance(refusal, NonFiniteError):
        finite = with_rows(problem, is_finite)
        if 0 < finite.num_samples < problem.num_samples:
            form, _ = _readable_form(finite)
    return form, refusal if form is None else None


def _readable_form(problem: Problem) -> tuple[Problem | None, ThalwegError | None]:
    held = shadow_of(problem.model)
    for name, module in held.named_modules():
        if not isinstance(module, _BatchNorm):
            module.training = False
        elif problem.mode and not problem.is_on_purpose(name):
            seen = module.num_batches_tracked
            module.training |= seen is not None and int(seen) == 0
    try:
        form = problem.with_model(held).with_frozen_statistics()
        form.check()
        _forward_all(form)
        return form, None
    except ThalwegError as error:
        refusal = error
    try:
        form = problem.in_eval_mode()
        form.check()
        _forward_all(form)
        return form, None
    except ThalwegError:
        return None, refusal


def _forward_all(problem: Problem) -> None:
    with reading(), torch.no_grad():
        for index, batch in enumerate(problem.batches):
            problem.forward(problem.parameters, batch, f"batch {index}")
