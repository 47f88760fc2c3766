"""Another look: what else ails a training, with the cause that was found taken away."""

from __future__ import annotations

from dataclasses import replace

import torch

from thalweg._errors import ThalwegError
from thalweg.doctor._case import Case
from thalweg.doctor._contest import contest
from thalweg.doctor._examination import TriedRemedy
from thalweg.doctor._finding import Finding
from thalweg.doctor._heat import LOOKS
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._looks import first_read, judged, watched, with_pass
from thalweg.doctor._observation import Watching, readable_form
from thalweg.doctor._planning import kept_out
from thalweg.doctor._readings import Readings
from thalweg.doctor._trying import answers
from thalweg.doctor.remedies import Remedy, joined, names_in

ANOTHER_LOOK = 0.37
"""Of the budget, that must be left for another look, at what else ails a training ..."""

READING = 0.75
"""... beyond the gradients over all data that its data, its pass and a few steps cost."""


def looked_again(
    case: Case,
    readings: Readings,
    findings: tuple[Finding, ...],
    remedy: Remedy | None,
    tried: tuple[TriedRemedy, ...],
) -> tuple[tuple[Finding, ...], tuple[TriedRemedy, ...]]:
    """What else ails the training, where taking away the cause is not proved to help alone.

    It is examined with that taken away, and what helps then is tried together with it, against the
    training as it is; so on with the next, while nothing is proved and the budget lasts.
    """
    ledger = case.ledger
    told = ledger.progress
    while (
        remedy is not None
        and not any(each.is_proved for each in tried)
        and not ledger.is_interrupted
        and _has_means(ledger)
    ):
        ledger.progress = lambda stage, _: told(f"another look: {stage}", 0.9)
        try:
            found, remedies = _without(remedy, case, readings)
        except ThalwegError as error:
            ledger.omit(f"another look, with {remedy.name}", str(error))
            break
        finally:
            ledger.progress = told
        known, done = {finding.ailment for finding in findings}, names_in(remedy)
        findings = (*findings, *(each for each in found if each.ailment not in known))
        joint = tuple(joined(remedy, each) for each in remedies if each.name not in done)
        remedy = joint[0] if joint else None
        if remedy is not None:
            if reason := kept_out(remedy, readings.plan):
                ledger.omit(f"trial: {remedy.name}", reason)
                break
            price = LOOKS[0][0] * readings.plan.price(case.training) / case.problem.num_samples
            if ledger.gradients_left < price:
                ledger.omit(
                    f"trial: {remedy.name}", f"what was left of {ledger.budget} is too little"
                )
                break
            with ledger.measuring("remedies together", 0.9):
                more = contest(joint, case.training, readings, ledger, (0.9, 1.0), 1)
            tried = tuple(sorted((*tried, *more), key=lambda each: not each.is_proved))
            if not any(each.runs for each in more):
                # What could not be run together says nothing of what comes on top of it.
                break
    return findings, tried


def _has_means(ledger: Ledger) -> bool:
    """Whether enough is left of the budget."""
    left = min(ledger.seconds_left, ledger.gradients_left - READING)
    return left >= ANOTHER_LOOK * ledger.budget.amount


def _without(
    remedy: Remedy, case: Case, readings: Readings
) -> tuple[tuple[Finding, ...], tuple[Remedy, ...]]:
    """What is found with a remedy in place, and what may help then.

    Raises:
        ThalwegError: if it cannot be run so.
    """
    generator = torch.Generator().manual_seed(case.seed)
    problem = remedy.apply(case.problem.copied(), generator)
    training = remedy.apply(case.training.copied(), generator)
    readable, _ = readable_form(problem)
    plan = replace(readings.plan, start=None)
    if problem.batch_size != case.problem.batch_size:
        plan = plan.in_batches_of(problem.batch_size)
    case = replace(case, problem=problem, readable=readable, training=training)
    watching = Watching(problem, training, plan, case.seed, case.ledger)
    seen = first_read(case, plan, watching)
    if readable is not None:
        seen = with_pass(case, readable, seen)
    seen, findings, suspect = watched(case, seen, watching)
    seen, findings = judged(case, seen, findings, watching)
    return findings, answers(case, seen, findings, suspect)
