"""Screening: short runs of all remedies, halved until so many are left as may be proved."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import isfinite

from thalweg.doctor._examination import TriedRemedy
from thalweg.doctor._heat import NUM_FINALISTS, SCREENING, UP, Heat, failed, untried
from thalweg.doctor._trial import Plan, Run
from thalweg.doctor.remedies import Remedy, slower

MANY = 2 * NUM_FINALISTS
"""More remedies than these are halved once before the screening, in runs half as long."""

MOVED = 0.1
"""A screening run that does not lower the loss by this share is given a smaller step."""

ENOUGH = 25
"""In fewer steps a sound training need not have moved; a smaller one is tried if it goes up."""


def halved(
    heat: Heat, remedies: Sequence[Remedy]
) -> tuple[list[tuple[Remedy, Run]], list[TriedRemedy]]:
    """The finalists with their screening, and those that dropped out."""
    entered: list[tuple[Remedy, Run]] = []
    dropped: list[TriedRemedy] = []
    rounds = [(2 * SCREENING, len(remedies) // 2)] if len(remedies) > MANY else []
    remaining = list(remedies)
    for shorter, survivors in [*rounds, (SCREENING, heat.num_finalists)]:
        length = replace(heat.plan, num_steps=max(1, heat.plan.num_steps // shorter))
        entered = []
        for remedy in remaining:
            if (entered or heat.done) and not heat.can_screen(length):
                dropped.append(untried(remedy, None, UP))
                continue
            try:
                entered.append(_screened(heat, remedy, length))
            except Exception as error:
                dropped.append(failed(remedy, None, error))
        entered.sort(key=lambda entry: entry[1].last_loss)
        outcome = f"dropped after {length.num_steps} steps: {survivors} others were ahead"
        dropped += [untried(r, screening, outcome) for r, screening in entered[survivors:]]
        entered = entered[:survivors]
        remaining = [remedy for remedy, _ in entered]
    return entered, dropped


def _screened(heat: Heat, remedy: Remedy, length: Plan) -> tuple[Remedy, Run]:
    """A short run; with a smaller step as well where it does not train."""
    run, _ = heat.run("trying", remedy, length, heat.unseen)
    if not remedy.changes_step and _is_idle(heat, run, length):
        remedy = slower(remedy, heat.readings)
        run, _ = heat.run("trying", remedy, length, heat.unseen)
    return remedy, run


def _is_idle(heat: Heat, run: Run, length: Plan) -> bool:
    """Whether a smaller step may help: the loss rises, or does not fall in steps enough to."""
    start = heat.readings.passed.value
    if length.num_steps >= ENOUGH and isfinite(start):
        return run.last_loss > (1 - MOVED) * start
    return not run.losses or run.last_loss > (1 + MOVED) * run.losses[0]
