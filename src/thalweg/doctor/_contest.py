"""The contest of remedies: a short screening of all, then paired full runs of the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, sqrt
from statistics import fmean, stdev

import torch
from scipy import stats

from thalweg._problem import Problem
from thalweg.doctor._examination import Gain, TriedRemedy
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._trial import Plan, Run, train
from thalweg.doctor.remedies import Remedy

NUM_FINALISTS = 3
"""Remedies that get full runs after the screening."""

SCREENING = 4
"""A screening run is this many times shorter than a full one."""

MIN_GAIN = 0.02
"""A remedy must lower the held-out loss by this share of the control's at least."""


def contest(
    remedies: Sequence[Remedy],
    problem: Problem,
    plan: Plan,
    control: Sequence[Run],
    ledger: Ledger,
    shares: tuple[float, float],
) -> tuple[TriedRemedy, ...]:
    """Tries every remedy; the best after the screening meet the control at full length.

    Args:
        remedies: what to try.
        problem: what is trained in the trials.
        plan: what all full runs have in common.
        control: the full runs of the network as it is; their seeds are used again.
        ledger: told of the progress.
        shares: of the whole examination behind at the begin and the end of the contest.

    Returns:
        All of them, the proved first, by held-out loss.
    """
    short = replace(plan, num_steps=max(1, plan.num_steps // SCREENING))
    lengths = len(remedies) / SCREENING + len(control) * min(NUM_FINALISTS, len(remedies))
    done = 0.0

    def tell(what: str, length: float) -> None:
        nonlocal done
        ledger.progress(what, shares[0] + (shares[1] - shares[0]) * done / lengths)
        done += length

    entered: list[tuple[Remedy, Run]] = []
    failed: list[TriedRemedy] = []
    for remedy in remedies:
        tell(f"trying {remedy.name}", 1 / SCREENING)
        try:
            entered.append((remedy, _run(remedy, problem, short, control[0].seed)))
        except Exception as error:
            # A remedy rebuilds somebody's network by rule; where that does not fit, say so.
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            outcome = f"could not be applied to this network: {reason}"
            failed.append(TriedRemedy(remedy.name, remedy.code, None, (), None, outcome))
    entered.sort(key=lambda entry: entry[1].last_loss)
    tried = []
    for remedy, screening in entered[:NUM_FINALISTS]:
        runs = []
        for run in control:
            tell(f"proving {remedy.name}", 1.0)
            runs.append(_run(remedy, problem, plan, run.seed))
        gain = paired_gain(control, runs)
        outcome = "proved to help" if gain.is_proved else "not proved to help"
        tried.append(TriedRemedy(remedy.name, remedy.code, screening, tuple(runs), gain, outcome))
    tried.sort(key=lambda t: (not t.is_proved, fmean(run.final_loss for run in t.runs)))
    for remedy, screening in entered[NUM_FINALISTS:]:
        outcome = f"dropped after {short.num_steps} steps: {NUM_FINALISTS} others were ahead"
        tried.append(TriedRemedy(remedy.name, remedy.code, screening, (), None, outcome))
    return (*tried, *failed)


def paired_gain(control: Sequence[Run], remedied: Sequence[Run]) -> Gain:
    """Control minus remedied held-out loss, seed by seed, with Student's one-sided t at 95 %.

    Where the control breaks down its loss is infinite: then the remedy is proved if every one of
    its runs ends, below the loss it began with.
    """
    pairs = list(zip(control, remedied, strict=True))
    if any(not isfinite(after.final_loss) for after in remedied):
        return Gain(-inf, -inf, False)
    whole = [
        (before, after) for before, after in pairs if isfinite(before.final_loss)
    ]
    if len(whole) < len(pairs):
        heals = all(after.final_loss < after.before.loss for after in remedied)
        return Gain(inf, inf if heals else -inf, heals)
    differences = [before.final_loss - after.final_loss for before, after in pairs]
    mean = fmean(differences)
    if len(differences) < 2:
        return Gain(mean, -inf, False)
    error = stdev(differences) / sqrt(len(differences))
    low = mean - float(stats.t.ppf(0.95, len(differences) - 1)) * error
    least = MIN_GAIN * abs(fmean(run.final_loss for run in control))
    return Gain(mean, low, low > 0 and mean > least)


def _run(remedy: Remedy, problem: Problem, plan: Plan, seed: int) -> Run:
    generator = torch.Generator().manual_seed(seed)
    return train(remedy.apply(problem.copied(), generator), plan, seed)
