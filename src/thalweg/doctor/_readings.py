"""Everything the rules of the doctor may look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import inf, isfinite, log, nan
from statistics import fmean, stdev

import torch
from scipy.stats import linregress
from torch import nn

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._score import Score
from thalweg.curvature import CriticalPoint
from thalweg.doctor._coasting import coasted
from thalweg.doctor._dropping import dropped_in_evaluation
from thalweg.doctor._head import Head
from thalweg.doctor._levels import EARLY, HALF, HELPFUL, MOST, Levels
from thalweg.doctor._observation import Observation, Stage
from thalweg.doctor._own_step import OwnStep
from thalweg.doctor._probe import Probe
from thalweg.doctor._sample import Sample
from thalweg.doctor._scheduled import yet_to_rise
from thalweg.doctor._trial import Plan, Run
from thalweg.doctor._watch import Watched, attained, minibatch_losses, settling
from thalweg.passes import Pass, flat_gates
from thalweg.signal import Signal, TimeSignal, along_time


@dataclass(frozen=True)
class Readings:
    """What was measured on a network before any remedy.

    Args:
        problem: as handed over, with the optimizer that is in use or assumed.
        passed: the pass at the point handed over; without layers where it could not be read.
        signal: how scale and gradient run with depth there.
        card: what kind of place the point is, None where curvature could not be read.
        optimizer: the optimizer in use or assumed, on a copy, to read its settings.
        control: runs of the network as it is; none where they could not be made.
        plan: what all trials have in common; None where there are none.
        constant_loss: the loss of the best answer that ignores the input, None where not known.
        shuffled_loss: the loss against the targets in random order, None where there are none.
        observed: the data, the head and a watched training; None where only remedies are tried.
        is_frugal: whether rules pay for nothing that is not measured yet.
        affordable: steps that remedies may take to find their settings.
    """

    problem: Problem
    passed: Pass
    signal: Signal
    card: CriticalPoint | None
    optimizer: torch.optim.Optimizer
    control: tuple[Run, ...]
    plan: Plan
    constant_loss: float | None
    shuffled_loss: float | None
    observed: Observation | None = None
    is_frugal: bool = False
    affordable: float = inf

    @property
    def _seen(self) -> Observation:
        assert self.observed is not None, "rules ask for what was observed"
        return self.observed

    @property
    def sample(self) -> Sample:
        """The data as tables."""
        return self._seen.sample

    @property
    def head(self) -> Head:
        """How output and loss meet."""
        return self._seen.head

    @property
    def levels(self) -> Levels:
        """The losses that mean that nothing, or half of what can be, was learned."""
        return self._seen.levels

    @property
    def watched(self) -> Watched:
        """A training by the whole recipe."""
        return self._seen.watched

    @property
    def settled(self) -> float:
        """Mean minibatch loss of the watched network at the end, in evaluation mode."""
        return self._seen.settled

    @property
    def held_out(self) -> Score | None:
        """The held-out score of the watched network, None where it could not be taken."""
        return self._seen.held_out

    @property
    def own_step(self) -> OwnStep | None:
        """The gradient of a step of their own beside the loss's, None where it is usual."""
        return self._seen.own_step

    @property
    def probe(self) -> Probe:
        """The watched training with other learning rates."""
        return self._seen.probe

    @property
    def is_readable(self) -> bool:
        """Whether the pass could be read at all."""
        return bool(self.passed.layers)

    @property
    def start(self) -> float:
        """The loss that training begins with, of a minibatch [loss]."""
        losses = self.watched.losses
        return losses[0] if losses else nan

    @cached_property
    def dropped(self) -> dict[str, float]:
        """Rates at which units are dropped in evaluation mode as well, by module."""
        return dropped_in_evaluation(self.problem)

    @cached_property
    def _losses_before(self) -> tuple[float, ...]:
        """Of some minibatches, in evaluation mode, before any training; empty if they have none."""
        try:
            problem = self.watched.problem.with_model(self.problem.model).in_eval_mode()
            return tuple(minibatch_losses(problem, self.plan.batch_size))
        except ThalwegError:
            return ()

    @property
    def spread(self) -> float:
        """Standard deviation of a minibatch's loss by which samples it holds, before any training.

        Cost: a forward pass of 20 minibatches, or of so many as hold 512 samples.
        """
        losses = self._losses_before
        return stdev(losses) if all(map(isfinite, losses)) and len(losses) > 1 else 0.0

    @property
    def halfway_in(self) -> float:
        """Times as many steps as were watched, from there to half of the attainable, at that pace.

        Both ends of it are read on the same minibatches, in evaluation mode, so that it is not lost
        in their noise. 0 where it is there, inf where it gets no closer or that is not known. Cost:
        that of `spread`.
        """
        losses = self._losses_before
        before = fmean(losses) if losses else nan
        return times_to(self.levels.at(HALF, self.start), before, self.settled)

    @property
    def times_left(self) -> float:
        """Times as many steps as were watched that the training still has."""
        return self.total_steps / max(self.num_seen, 1) - 1

    @property
    def whole_minibatches(self) -> tuple[float, ...]:
        """The losses of all but the minibatches that an epoch ends with, if they are smaller."""
        losses, num_epoch = self.watched.losses, self.watched.steps_in_epoch
        if num_epoch < 2 or self.watched.problem.num_samples % self.plan.batch_size == 0:
            return losses
        return tuple(loss for step, loss in enumerate(losses, 1) if step % num_epoch)

    @property
    def end(self) -> float:
        """The training loss that training ends with; inf where it broke off."""
        return self.watched.end

    @property
    def blind_loss(self) -> float | None:
        """The loss of answers that know nothing of the input: constant, or else shuffled ones."""
        known = self.constant_loss
        if known is None and self.observed is not None:
            known = self.levels.blind
        return self.shuffled_loss if known is None else known

    @property
    def total_steps(self) -> int:
        """Steps of the training that they mean to do: their epochs, or those of a trial."""
        epochs = self.problem.epochs
        if epochs is None:
            return self.watched.max_steps
        return epochs * self.watched.steps_in_epoch

    @property
    def num_seen(self) -> int:
        """Steps after which what the training did is known."""
        return self.watched.num_steps

    @property
    def is_early(self) -> bool:
        """Whether an epoch was watched only, so that what is found must be mended to be said."""
        return self._seen.stage is Stage.FIRST_EPOCH

    @cached_property
    def signal_after(self) -> Signal | None:
        """Signal through depth after the watched run, None where it broke down.

        On as many samples as before it. Cost: their share of all.
        """
        if self.watched.failure or not self.is_readable:
            return None
        try:
            after, size = self.watched.problem.in_eval_mode(), self.passed.num_samples
            if size < after.num_samples:
                after = after.subsampled(size, torch.Generator().manual_seed(0))
            return Signal.of(Pass.of(after))
        except ThalwegError:
            # A training that broke down leaves parameters with no finite loss; the finding says so.
            return None

    @cached_property
    def in_time(self) -> tuple[TimeSignal, ...]:
        """Signal through the steps of recurrent layers, on some of the samples. Cost: 2 of them."""
        if not self._is_recurrent:
            return ()
        try:
            return tuple(TimeSignal.of(found) for found in along_time(self._in_part))
        except ThalwegError:
            return ()

    @cached_property
    def gates(self) -> dict[str, float]:
        """Share of flat slopes of recurrent layers' gates, on some samples. Cost: 1 of them."""
        if not self._is_recurrent:
            return {}
        try:
            return flat_gates(self._in_part)
        except (ThalwegError, RuntimeError):
            return {}

    @property
    def _is_recurrent(self) -> bool:
        return any(isinstance(module, nn.RNNBase) for module in self.problem.model.modules())

    @property
    def _in_part(self) -> Problem:
        """In evaluation mode, on as many samples as are read along time."""
        part = self.problem.in_eval_mode()
        if part.num_samples > READ_IN_TIME:
            part = part.subsampled(READ_IN_TIME, torch.Generator().manual_seed(0))
        return part

    @property
    def cost(self) -> float:
        """Gradients over all data that rules asked for, beside the probes."""
        after = min(1.0, self.passed.num_samples / self.problem.num_samples)
        after *= "signal_after" in vars(self)
        read = min(1.0, READ_IN_TIME / self.problem.num_samples)
        size = self.plan.batch_size
        num_forward = ("_losses_before" in vars(self)) + ("coasted" in vars(self))
        forward = num_forward * settling(size) * size / self.problem.num_samples / 3
        in_time = 2 * bool(vars(self).get("in_time")) + bool(vars(self).get("gates"))
        return after + forward + in_time * read

    @cached_property
    def learned(self) -> float:
        """The share of what can be learned that was: 0 like a blind answer, 1 the attainable."""
        if self.watched.failure:
            return 0.0
        end = min(self.watched.end, self.settled)
        if self.is_early:
            end = attained(self.watched, self.settled)
        above = self.start if self.blind_loss is None else self.blind_loss
        reach = self.levels.explained * (above - self.levels.floor)
        return (above - end) / reach if reach > 0 else (1.0 if end <= above else 0.0)

    @property
    def will_learn(self) -> float:
        """The share of what can be learned that is at the end, at the pace of the later steps.

        Those are the second half of what was watched: a training slows down.
        """
        losses = self.watched.losses
        late = losses[len(losses) // 2 :]
        above = self.start if self.blind_loss is None else self.blind_loss
        reach = self.levels.explained * (above - self.levels.floor)
        if len(late) < 2 or not reach > 0 or not all(map(isfinite, late)):
            return self.learned
        pace = max(0.0, -float(linregress(range(len(late)), late).slope))
        return self.learned + pace * max(self.total_steps - self.num_seen, 0) / reach

    @property
    def trains(self) -> bool:
        """Whether the network, as it is, learns: symptoms are findings only where it does not.

        Measured against blind answers, so that a network that was trained before counts too;
        against the loss it begins with where no blind answer is known.
        """
        return self.learned >= (EARLY if self.is_early else HALF) or self.is_promising

    @cached_property
    def is_promising(self) -> bool:
        """Whether the loss, at the pace of its later steps, gets there within the training.

        Where they name no epochs, within twice what was watched. A pace that is chance is none. Far
        above a blind answer's loss the pace is a share of what is left: the higher the loss, the
        faster it falls, and goes on ever slower.
        """
        losses = self.watched.losses
        late = list(losses[len(losses) * 3 // 5 :])
        if self.watched.failure or len(late) < 10:
            return False
        if self.is_early and self.learned < CONSTANT:
            # On the way to a constant answer, so far.
            return False
        blind, level = self.blind_loss, self.levels.at(HALF, self.start)
        is_far = blind is not None and self.end > FAR * blind > 0 < min(level, *late)
        late = [log(loss) for loss in late] if is_far else late
        fit = linregress(range(len(late)), late)
        if not fit.slope < -SURE * fit.stderr:
            return False
        left = max(self.total_steps, self.num_seen * (2 if self.problem.epochs is None else 1))
        end = log(self.end) if is_far else self.end
        reached = end + float(fit.slope) * (left - self.num_seen)
        return reached <= (log(level) if is_far else level)

    @property
    def trains_well(self) -> bool:
        """Whether it learns most of what can be learned, or will, for all that an epoch shows."""
        return self.trains if self.is_early else self.learned >= MOST

    @property
    def lost_since(self) -> int | None:
        """The step after which it lost again what it had learned, None where it did not."""
        return self.levels.lost_since(self.watched.losses, self.watched.steps_in_epoch)

    @property
    def may_train(self) -> bool:
        """Whether it trains, or was not watched long enough to tell."""
        return self._seen.stage is Stage.FIRST_STEPS or self.trains

    @property
    def may_train_well(self) -> bool:
        """The same of training well."""
        return self._seen.stage is Stage.FIRST_STEPS or self.trains_well

    @property
    def learned_of_held_out(self) -> float:
        """The share of what can be learned that is answered on held-out data; inf if not known."""
        above = self.blind_loss
        if self.held_out is None or above is None:
            return inf
        reach = self.levels.explained * (above - self.levels.floor)
        gained = above - self.held_out.loss
        return gained / reach if reach > 0 else inf if gained >= 0 else -inf

    @property
    def generalises(self) -> bool:
        """Whether what was held out is answered nearly as well as can be, where that is known."""
        return self.learned_of_held_out >= MOST

    @property
    def trains_well_in_training(self) -> bool:
        """The same by the loss in training mode alone, with units dropped."""
        return self.watched.end <= self.levels.at(EARLY if self.is_early else MOST, self.start)

    @cached_property
    def coasted(self) -> float | None:
        """The loss where momentum alone carries it in the steps that are left; None without any.

        Cost: a forward pass of 20 minibatches, or of so many as hold 512 samples.
        """
        left = max(self.total_steps - self.num_seen, 0)
        return coasted(self.watched, left, self.plan.batch_size)

    @cached_property
    def slower(self) -> float:
        """Share of the attainable that a tenth of the learning rate gains, or less if need be."""
        gain = self.gain(0.1)
        for factor in (0.01, 0.001):
            if gain >= HELPFUL or (factor < 0.01 and not self.watched.failure):
                break
            gain = max(gain, self.gain(factor))
        return gain

    @cached_property
    def faster(self) -> float:
        """Share of the attainable that ten or a hundred times the learning rate gains."""
        if self.is_early:
            # Within an epoch ten times the rate is ahead of many a sound one.
            gain = self.gain(100.0)
            for share in (0.3, 0.03):
                # At the pace at which an epoch moves the parameters by a share of their size.
                factor = share * self.total_steps / self.num_seen / max(self.moves, 1e-9)
                if gain < HELPFUL and 300 < factor < inf:
                    gain = max(gain, self.gain(float(round(factor))))
            return gain
        gain, end = self.gain(10.0), self.probe.at(10.0)
        # What comes down from far above and knows nothing yet may need more.
        is_blind = end is not None and end > self.levels.at(0.0, self.start)
        return gain if gain >= HELPFUL and not is_blind else max(gain, self.gain(100.0))

    @cached_property
    def is_warming_up(self) -> bool:
        """Whether their schedule raises the learning rate well above what was watched so far."""
        size = self.plan.batch_size
        ahead = yet_to_rise(self.problem, size, self.num_seen, self.total_steps)
        return ahead > WARMING

    @cached_property
    def moves(self) -> float:
        """How far the whole training takes the parameters at this pace, straight on: ‖Δθ‖/‖θ‖."""
        before = dict(self.problem.model.named_parameters())
        moved = size = 0.0
        for name, after in self.watched.problem.model.named_parameters():
            first = before[name].detach().double()
            moved += float((after.detach().double() - first).square().sum())
            size += float(first.square().sum())
        ahead = self.total_steps / max(self.num_seen, 1)
        return ahead * (moved / size) ** 0.5 if size else inf

    def gain(self, factor: float, larger: int = 1) -> float:
        """Share of the attainable that a factor of the learning rate gains.

        0 where it breaks off, or where finding out would cost more than may be spent.

        Over as many steps with the same data order; or fewer, on minibatches `larger` times as
        large, against the end of the watched training.
        """
        other, own = self.probe.at(factor, larger), self.probe.of(self.watched)
        if larger > 1:
            # Few steps on many samples each against all that were watched.
            own = attained(self.watched, self.settled)
        above = self.start if self.blind_loss is None else self.blind_loss
        reach = self.levels.explained * (above - self.levels.floor)
        if other is None or other == inf or not reach > 0:
            return 0.0
        # A training that is worse than a blind answer is no further from it than its start was.
        return (min(own, max(above, self.start)) - other) / reach


def times_to(level: float, before: float, after: float) -> float:
    """How often the loss must fall as it fell until it is at a level; inf where it never is."""
    if after <= level:
        return 0.0
    # Comparisons with nan are false.
    return (after - level) / (before - after) if isfinite(after) and before > after else inf


READ_IN_TIME = 128
"""Samples that a gradient along time is read on."""

WARMING = 1.5
"""A schedule that raises the learning rate by this factor yet is warming up."""

CONSTANT = 0.02
"""After an epoch, learning less than this share is no more than finding the constant answer."""

WELL_WITHIN = 0.5
"""Of the steps that are left, in which a training gets halfway by itself at its pace."""

FAR = 2.0
"""A loss so many times a blind answer's is far above it."""

SURE = 4.0
"""Standard errors of a slope that is no chance."""

UNTRAINED = (
    "the network as it is does not learn half of what nearest neighbours or a linear model learn "
    "of these data, measured from the loss of an answer that ignores the input, nor is on its way "
    "there"
)
"""The opposite of `Readings.trains`, in words."""

NOT_WELL = (
    "the network as it is learns less than 80 % of what nearest neighbours or a linear model learn"
)
"""The opposite of `Readings.trains_well`, in words."""
