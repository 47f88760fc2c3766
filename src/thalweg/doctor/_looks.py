"""Looks at a case: its data and first steps, the pass, a watched training, and what rules say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import inf, nan

import torch

from thalweg._problem import Problem
from thalweg._score import constant_loss, shuffled_loss
from thalweg.doctor._case import Case
from thalweg.doctor._confirm import Confirmation
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import Watching
from thalweg.doctor._planning import LEAST, is_tight
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Plan
from thalweg.doctor._watch import settling
from thalweg.doctor.findings import doubted, find, suspected, unmoved
from thalweg.doctor.remedies import Remedy
from thalweg.passes import Pass
from thalweg.signal import Signal

READ_SHARE, LEAST_READ = 0.04, 128
"""Of a budget in gradients for the pass, and samples that it reads at least."""

UNMOVED = frozenset({Ailment.STUCK, Ailment.GRADIENT_FLAT})
"""Symptoms that may pass by themselves, and GONE_ON of what is left may be spent to see that."""

GONE_ON = 0.5

KEPT, SHORTEST_RUNS = 2.0, 4
"""Gradients over all data that probes leave for other readings and for scores, beside two pairs of
the shortest trials.
"""

GATHERED = 0.1
"""Of their steps, by which what averages over many steps has gathered enough to show its harm."""

CONFIRMED, OF_THE_REST = 0.15, 0.2
"""Of a budget in gradients, and of what is left of it, for what confirms a suspicion of the first
epoch.
"""


def first_read(case: Case, plan: Plan, watching: Watching) -> Readings:
    """What the data and the first steps of a training show."""
    with case.ledger.measuring("one training, its first steps", 0.02) as gradients:
        before = watching.first_steps()
        compared = 0 if before.own_step is None else before.own_step.cost
        gradients.append(case.fraction * (before.watched.num_steps + compared))
    unread = Pass(nan, (), (), case.problem.num_samples)
    return Readings(
        case.problem, unread, Signal.of(unread), None, case.optimizer, (), plan, None, None, before
    )


def with_pass(case: Case, readable: Problem, readings: Readings) -> Readings:
    """With the pass, the signal through depth, and the losses of answers that know nothing."""
    with case.ledger.measuring("pass, and signal through depth", 0.05) as gradients:
        part = _affordable(readable, case.seed, case.ledger)
        passed = Pass.of(part)
        readings = replace(
            readings,
            passed=passed,
            signal=Signal.of(passed),
            constant_loss=constant_loss(case.problem),
            shuffled_loss=shuffled_loss(part, torch.Generator().manual_seed(case.seed)),
        )
        gradients.append((4 / 3) * part.num_samples / case.problem.num_samples)
    return readings


def _affordable(problem: Problem, seed: int, ledger: Ledger) -> Problem:
    """The problem, or as many of its samples as a small budget in gradients lets a pass read."""
    budget = ledger.budget
    if not is_tight(problem, budget):
        return problem
    most = max(LEAST_READ, int(READ_SHARE * budget.amount * problem.num_samples))
    if most >= problem.num_samples:
        return problem
    part = problem.subsampled(most, torch.Generator().manual_seed(seed))
    ledger.omit(
        "the pass on all data",
        f"it was read on {part.num_samples:,} of {problem.num_samples:,} samples, to fit {budget}",
    )
    return part


def watched(
    case: Case,
    readings: Readings,
    watching: Watching,
    tell: Callable[[Readings, Sequence[Finding]], None] = lambda early, unconfirmed: None,
) -> tuple[Readings, tuple[Finding, ...] | None, Remedy | None]:
    """What the watched training showed; findings and remedy that its first epoch confirmed, if any.

    Where something was confirmed its fate is sealed, and the training is not watched to the end.
    Otherwise what an epoch makes one suspect is told before it goes on.
    """
    ledger, budget = case.ledger, case.ledger.budget
    begun, fraction, is_explained = readings.watched.num_steps, watching.fraction, False
    with ledger.measuring("first epoch, and what it confirms", 0.1) as gradients:
        observed = watching.first_epoch()
        if observed is not None:
            early = replace(readings, observed=observed)
            most = inf
            if not budget.is_seconds:
                most = min(CONFIRMED * budget.amount, OF_THE_REST * ledger.gradients_left)
            confirmation = Confirmation(early, case.training, case.seed, most)
            findings = suspected(early, confirmation.confirms)
            gradients.append(fraction * (observed.watched.num_steps - begun + early.probe.cost))
            gradients.append(confirmation.spent + early.cost)
            if findings is not None:
                return early, findings, confirmation.remedy
            tell(early, confirmation.unconfirmed)
            begun, is_explained = observed.watched.num_steps, confirmation.explains
    with ledger.measuring("one training, watched", 0.15) as gradients:
        observed = watching.whole(is_explained)
        forward = settling(watching.size) / 3
        gradients.append(fraction * (observed.watched.num_steps - begun + forward))
    return replace(readings, observed=observed), None, None


def gathered(case: Case, readings: Readings, watching: Watching) -> Readings:
    """With the training watched until what it gathers shows; trials go on from there."""
    lacking = GATHERED * readings.total_steps - readings.num_seen
    return _watched_on(case, readings, watching, lacking * case.fraction) or readings


def _watched_on(
    case: Case, readings: Readings, watching: Watching, gradients: float
) -> Readings | None:
    """With the training gone on with by so much; None where it is hardly longer then."""
    with case.ledger.measuring("one training, watched on", 0.37) as spent:
        observed = watching.on(gradients)
        if observed is None:
            return None
        num_steps = observed.watched.num_steps - readings.num_seen
        spent.append(case.fraction * (num_steps + settling(watching.size) / 3))
    return replace(readings, observed=observed)


def judged(
    case: Case, readings: Readings, confirmed: tuple[Finding, ...] | None, watching: Watching
) -> tuple[Readings, tuple[Finding, ...]]:
    """What was confirmed already, else what the rules find in all that was read.

    Where that is no more than that the training does not move, or nothing of one that learns too
    little, it is watched on first; or what may be the cause is proved. One that does not move then
    either has what may be the cause told first.
    """
    with case.ledger.measuring("rules, and probes of other learning rates", 0.35) as gradients:
        if confirmed is not None:
            return readings, confirmed
        probe, probed = readings.probe, readings.probe.cost
        if probe.most < inf:
            left = (case.ledger.gradients_left - KEPT) / case.fraction - SHORTEST_RUNS * LEAST
            probe.most = min(probe.most, probed + max(left, 0.0))
        findings = find(readings)
        gradients.append(case.fraction * (probe.cost - probed) + readings.cost)
    if not all(finding.ailment in UNMOVED for finding in findings):
        return readings, findings
    if not findings and (doubts := doubted(readings)):
        return readings, doubts
    if not findings and (readings.may_train or readings.watched.failure):
        return readings, findings
    forward = case.fraction * settling(watching.size) / 3
    most = GONE_ON * case.ledger.gradients_left - forward
    later = _watched_on(case, readings, watching, most)
    if later is not None:
        readings, findings = later, unmoved(later)
    return readings, (*(doubted(readings) if findings else ()), *findings)
