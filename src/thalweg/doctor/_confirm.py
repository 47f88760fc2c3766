"""What an epoch makes one suspect, confirmed by taking the suspected cause away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf, isfinite, nan
from statistics import fmean

import torch

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg.doctor._constant import best_constant
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import HALF
from thalweg.doctor._marks import Marks
from thalweg.doctor._readings import FAR, WELL_WITHIN, Readings, times_to
from thalweg.doctor._watch import attained, minibatch_losses, settled, settling, watch
from thalweg.doctor.findings._settings import is_carried_off
from thalweg.doctor.remedies import ANSWERS, Remedy

MENDS = 0.15
"""The remedy learns this share of the attainable more in the very steps that were watched, and
twice as much at least."""

QUICKENS = 5.0
"""Or at its pace it gets halfway within the training, and the training as it is would take so many
times as long and does not."""

NUM_SUSPECTS, NUM_REMEDIES = 2, 2
"""Findings that are confirmed, and remedies of each that are tried for it, at most."""

BY_THEMSELVES = frozenset(
    {Ailment.LR_TOO_LARGE, Ailment.LR_TOO_SMALL, Ailment.REDUCTION, Ailment.NOISE}
)
"""Found by what a change of the cause gains already: by the same steps at another rate or size."""

AT_THE_POINT = frozenset(
    {Ailment.VANISHING, Ailment.EXPLODING, Ailment.SATURATED, Ailment.DEAD, Ailment.SYMMETRIC}
)
"""Found of the network as it was handed over, before any training."""

IN_THE_RECIPE = frozenset(
    {
        *(Ailment.INPUT_SCALE, Ailment.OUTLIERS, Ailment.CONSTANT_FEATURES, Ailment.TARGET_SCALE),
        *(Ailment.TARGET_RANGE, Ailment.OUTPUT_LOSS, Ailment.DROPOUT, Ailment.WEIGHT_DECAY),
        *(Ailment.CLIPPING, Ailment.MOMENTUM, Ailment.EPSILON),
    }
)
"""Found of the data and the settings."""

UNITS = frozenset({Ailment.SATURATED, Ailment.DEAD})
"""Units that many a sound network has, and that come back in some."""

FAR_PAST = 2.0
"""Times past its rule, from which on such a finding explains why nothing is learned."""


class Confirmation:
    """Confirms what an epoch makes one suspect: its remedy mends it in the steps that were watched.

    One seed, the data order and the steps of the watched training. A training that broke off
    proves itself.

    Args:
        readings: of that epoch.
        training: what is trained.
        seed: of the watched training.
        most: gradients over all data that this may cost.

    Cost: as many steps as were watched, for each of four trainings at most; see `spent`.
    """

    def __init__(self, readings: Readings, training: Problem, seed: int, most: float) -> None:
        self.readings, self.training, self.seed, self.most = readings, training, seed, most
        self.spent = 0.0
        self.remedy: Remedy | None = None
        self.explains = False
        self.unconfirmed: list[Finding] = []

    def confirms(self, finding: Finding) -> bool:
        """Whether it is confirmed; its remedy is kept, where it was one that did so."""
        is_far = finding.margin >= FAR_PAST
        self.explains |= finding.ailment in AT_THE_POINT and not finding.found_after
        self.explains |= finding.ailment in IN_THE_RECIPE and is_far
        if self.readings.watched.failure or finding.ailment in BY_THEMSELVES:
            return True
        if finding.ailment is Ailment.MOMENTUM and is_carried_off(self.readings):
            return True
        if not (finding.ailment in UNITS and self._comes_back()) and self._is_mended(finding):
            return True
        self.unconfirmed.append(finding)
        return False

    def _comes_back(self) -> bool:
        """Whether the training gets halfway well within its length, at the pace of this epoch.

        Then a remedy that is ahead after an epoch says nothing of its end.
        """
        readings, blind = self.readings, self.readings.blind_loss
        is_near = blind is not None and readings.start <= FAR * blind
        if not is_near or not self._pays(self._forward):
            return False
        return readings.halfway_in <= WELL_WITHIN * readings.times_left

    def _is_mended(self, finding: Finding) -> bool:
        """Whether a remedy of it mends the training in the steps that were watched."""
        if len(self.unconfirmed) >= NUM_SUSPECTS:
            return False
        proposed = [proposal(self.readings) for proposal in ANSWERS[finding.ailment]]
        remedies = [each for each in proposed if isinstance(each, Remedy)]
        own = max(self.readings.learned, 0.0)
        tried: list[tuple[Remedy, Mended]] = []
        for remedy in remedies[:NUM_REMEDIES]:
            if not self._pays(self.readings.num_seen + self._forward):
                break
            mended = mended_by(remedy, self.readings, self.training, self.seed)
            begun = replace(remedy, begun=mended.marks)
            if mended.learned - own > MENDS and mended.learned > 2 * own:
                # What takes the cause itself away stays first, though another was quicker.
                direct = (each for each, _ in tried if each.is_direct)
                self.remedy = next(direct, begun)
                return True
            tried.append((begun, mended))
        # What mends it at once comes before what promises to.
        self.remedy = next((each for each, mended in tried if self._quickens(each, mended)), None)
        return self.remedy is not None

    def _quickens(self, remedy: Remedy, mended: Mended) -> bool:
        """Whether it will get halfway with the remedy, and will not without."""
        left, own = self.readings.times_left, self.readings.halfway_in
        if own <= left or not self._pays(self._forward):
            return False
        before = loss_before(remedy, self.readings, self.training, self.seed)
        return times_to(mended.half, before, mended.after) <= min(left, own / QUICKENS)

    @property
    def _forward(self) -> float:
        """Steps that a loss over some minibatches costs."""
        return settling(self.readings.plan.batch_size) / 3

    def _pays(self, num_steps: float) -> bool:
        """Spends what so many steps cost, if there is so much."""
        size = self.readings.plan.batch_size
        price = num_steps * size / max(self.training.num_samples, 1)
        if self.spent + price > self.most:
            return False
        self.spent += price
        return True


@dataclass(frozen=True)
class Mended:
    """The watched steps with a remedy.

    Args:
        learned: share of the attainable.
        after: the loss then, in evaluation mode [loss].
        half: the loss at half of the attainable [loss].
        marks: from which a trial of it goes on.
    """

    learned: float
    after: float = inf
    half: float = 0.0
    marks: Marks | None = None


REFUSALS = (ThalwegError, RuntimeError, ValueError, KeyError, AttributeError, TypeError)
"""A remedy rebuilds somebody's network by rule, which may not fit."""


def mended_by(remedy: Remedy, readings: Readings, training: Problem, seed: int) -> Mended:
    """What the watched steps' samples do with a remedy."""
    try:
        mended = remedy.apply(training.copied(), torch.Generator().manual_seed(seed))
        size = mended.batch_size or readings.plan.batch_size
        watched = watch(
            mended,
            batch_size=size,
            max_steps=max(1, round(readings.num_seen * readings.plan.batch_size / size)),
            seed=seed,
            num_threads=readings.plan.num_threads,
        )
        above, floor = readings.blind_loss, readings.levels.floor
        if remedy.changes_loss:
            above = best_constant(mended, mended.batches, readings.plan.reduction)
            floor = 0.0
        above = readings.start if above is None else above
        reach = readings.levels.explained * (above - floor)
        if watched.failure or not reach > 0:
            return Mended(0.0)
        after = settled(watched, size)
        learned = (above - attained(watched, after)) / reach
    except REFUSALS:
        return Mended(0.0)
    if not isfinite(learned):
        return Mended(0.0)
    return Mended(learned, after, above - HALF * reach, watched.marks)


def loss_before(remedy: Remedy, readings: Readings, training: Problem, seed: int) -> float:
    """The loss that a training with a remedy begins with, in evaluation mode; nan if not known."""
    try:
        mended = remedy.apply(training.copied(), torch.Generator().manual_seed(seed))
        size = mended.batch_size or readings.plan.batch_size
        return fmean(minibatch_losses(mended.in_eval_mode(), size))
    except REFUSALS:
        return nan
