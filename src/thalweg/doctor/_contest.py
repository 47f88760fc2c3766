"""The contest of remedies: a short screening of all, then paired full runs of the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, sqrt
from statistics import fmean, stdev

import torch
from scipy import stats

from thalweg._problem import Problem
from thalweg._training import described
from thalweg.doctor._examination import Gain, TriedRemedy
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Plan, Run, train
from thalweg.doctor.remedies import Remedy, slower

NUM_FINALISTS = 3
"""Remedies that get full runs after the screening."""

SCREENING = 4
"""A screening run is this many times shorter than a full one."""

MOVED = 0.1
"""A screening run that does not lower the loss by this share is given a smaller step."""

RISK = 0.05
"""Of calling any remedy proved that does nothing, over all that are compared (Bonferroni)."""

MIN_GAIN = 0.02
"""A remedy must lower the held-out loss by this share of the control's at least."""


def contest(
    remedies: Sequence[Remedy],
    training: Problem,
    readings: Readings,
    ledger: Ledger,
    shares: tuple[float, float],
) -> tuple[TriedRemedy, ...]:
    """Tries every remedy; the best after the screening meet the control at full length.

    A change to the network that does not train in the screening is screened again with a tenth of
    the learning rate: what suits a network that hardly answers is too large for one that does.

    Args:
        remedies: what to try.
        training: what is trained in the trials.
        readings: the control runs, whose seeds are used again, and the plan of a full run.
        ledger: told of the progress.
        shares: of the whole examination behind at the begin and the end of the contest.

    Returns:
        All of them, the proved first, by held-out loss. Where the time is up, fewer than
        `NUM_FINALISTS` are proved, but one at least.
    """
    plan, control = readings.plan, readings.control
    short = replace(plan, num_steps=max(1, plan.num_steps // SCREENING))
    # Chosen by a seed that the proof does not use, or the luck of the draw would be proved with it.
    unseen = max(run.seed for run in control) + 1
    total = len(remedies) / SCREENING + len(control) * min(NUM_FINALISTS, len(remedies))
    done = 0.0

    def run(what: str, remedy: Remedy, length: Plan, seed: int) -> Run:
        nonlocal done
        share = shares[0] + (shares[1] - shares[0]) * min(done / total, 1.0)
        ledger.progress(f"{what} {remedy.name}", share)
        done += length.num_steps / plan.num_steps
        generator = torch.Generator().manual_seed(seed)
        return train(remedy.apply(training.copied(), generator), length, seed)

    entered: list[tuple[Remedy, Run]] = []
    failed: list[TriedRemedy] = []
    for remedy in remedies:
        try:
            screening = run("trying", remedy, short, unseen)
            is_idle = screening.last_loss > (1 - MOVED) * readings.passed.value
            if is_idle and not remedy.changes_step:
                remedy = slower(remedy, readings)
                screening = run("trying", remedy, short, unseen)
            entered.append((remedy, screening))
        except Exception as error:
            failed.append(_failed(remedy, None, error))
    entered.sort(key=lambda entry: entry[1].last_loss)
    finalists = entered[:NUM_FINALISTS]
    tried: list[TriedRemedy] = []
    late: list[TriedRemedy] = []
    for remedy, screening in finalists:
        if tried and ledger.seconds_left < sum(each.seconds for each in control):
            outcome = "not proved: the time was up before its full runs"
            late.append(TriedRemedy(remedy.name, remedy.code, screening, (), None, outcome))
            continue
        try:
            runs = tuple(run("proving", remedy, plan, each.seed) for each in control)
        except Exception as error:
            failed.append(_failed(remedy, screening, error))
            continue
        gain = paired_gain(control, runs, readings.blind_loss, len(finalists))
        outcome = "proved to help" if gain.is_proved else "not proved to help"
        if gain.is_proved and _fits_less(runs, control):
            gain = replace(gain, is_proved=False)
            outcome = "lowers the held-out loss only by fitting the training data less: no remedy"
        tried.append(TriedRemedy(remedy.name, remedy.code, screening, runs, gain, outcome))
    tried.sort(key=lambda t: (not t.is_proved, fmean(run.final_loss for run in t.runs)))
    tried += late
    for remedy, screening in entered[NUM_FINALISTS:]:
        outcome = f"dropped after {short.num_steps} steps: {NUM_FINALISTS} others were ahead"
        tried.append(TriedRemedy(remedy.name, remedy.code, screening, (), None, outcome))
    return (*tried, *failed)


def _fits_less(runs: Sequence[Run], control: Sequence[Run]) -> bool:
    """Whether the training loss ends higher than without: less training is no better training."""
    return fmean(run.last_loss for run in runs) > fmean(run.last_loss for run in control)


def _failed(remedy: Remedy, screening: Run | None, error: Exception) -> TriedRemedy:
    """A remedy rebuilds somebody's network by rule; where that does not fit, it says so."""
    outcome = f"could not be run on this network: {described(error)}"
    return TriedRemedy(remedy.name, remedy.code, screening, (), None, outcome)


def paired_gain(
    control: Sequence[Run],
    remedied: Sequence[Run],
    blind_loss: float | None = None,
    num_compared: int = 1,
) -> Gain:
    """Control minus remedied held-out loss, seed by seed, with Student's one-sided t.

    The level is 5 % over all remedies that are compared with this control, divided evenly.

    How far a run diverges is chance, and would pass for doubt: a control run counts at most at the
    loss it began with, or that a blind answer gets where that is higher. So one that breaks down
    among sound ones proves nothing. A remedy that breaks down once is not proved.
    """
    if any(not isfinite(after.final_loss) for after in remedied):
        return Gain(-inf, -inf, False)
    has_broken = any(not isfinite(before.final_loss) for before in control)
    without = [min(run.final_loss, max(run.before.loss, blind_loss or -inf)) for run in control]
    differences = [w - after.final_loss for w, after in zip(without, remedied, strict=True)]
    mean = fmean(differences)
    if len(differences) < 2 or not isfinite(mean):
        return Gain(mean, -inf, False)
    error = stdev(differences) / sqrt(len(differences))
    low = mean - float(stats.t.ppf(1 - RISK / num_compared, len(differences) - 1)) * error
    is_proved = low > 0 and mean > MIN_GAIN * abs(fmean(without))
    return Gain(inf if has_broken and is_proved else mean, low, is_proved)
