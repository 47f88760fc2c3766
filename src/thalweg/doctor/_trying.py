"""Trying: which remedies answer the findings, and what becomes of them beside the control."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from math import inf

from thalweg._batch import num_samples
from thalweg._problem import Problem
from thalweg.doctor._case import Case
from thalweg.doctor._contest import contest
from thalweg.doctor._control import Control
from thalweg.doctor._examination import TriedRemedy
from thalweg.doctor._finding import Finding
from thalweg.doctor._heat import LOOKS, NUM_FINALISTS
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._levels import NOTHING
from thalweg.doctor._planning import (
    NUM_RUNS,
    NUM_SEEDS,
    begun_by,
    fitted,
    is_tight,
    kept_out,
    shortened,
)
from thalweg.doctor._readings import WARMING, Readings
from thalweg.doctor._scheduled import yet_to_rise
from thalweg.doctor._trial import Plan
from thalweg.doctor.remedies import Remedy, remedies_for

TOLERATED_EXCESS = 1.5
"""Trials that look to take this many times the time that is left are shortened."""

PROVING = 0.4
"""Of a budget in gradients, that is left for proofs where remedies look for their settings."""

LATE = ((3, 1.0),)
"""Pairs, and their share of the risk, where short trials would show nothing. Of two, Student's t
asks for a gain four and a half times its spread; of three, 1.7 times."""

AVERAGED = 0.25
"""Of such trials, the last part, along which their held-out losses are averaged: momentum that
lasts too long makes them swing; and what is ahead at first, and harmed by then, shows no earlier.
"""

CUT_SHORT = 0.3
"""Of a whole run's cost, for planning, is that of a training that breaks off."""


def answers(
    case: Case, readings: Readings, findings: tuple[Finding, ...], suspect: Remedy | None
) -> tuple[Remedy, ...]:
    """The remedies that the findings name, what promises most first; others are noted as left out.

    Args:
        case: the examination.
        readings: everything that was measured.
        findings: what ails the training.
        suspect: the remedy that mended it within its first epoch, if any.
    """
    ledger = case.ledger
    if not ledger.budget.is_seconds:
        spare = ledger.gradients_left - PROVING * ledger.budget.amount
        readings = replace(readings, affordable=max(spare, 0.0) / case.fraction)
    with ledger.measuring("what may help", 0.38) as gradients:
        remedies, not_applicable = remedies_for(findings, readings)
        if suspect is not None:
            # What mended it within an epoch is proved first, and alone where that succeeds.
            rest = [remedy for remedy in remedies if remedy.name != suspect.name]
            remedies = (replace(suspect, is_direct=True), *rest)
        gradients.append(sum(remedy.num_samples for remedy in remedies) / case.problem.num_samples)
    for remedy in not_applicable:
        ledger.omit(f"remedy: {remedy.name}", remedy.reason)
    return remedies


def tried_on(
    case: Case,
    readings: Readings,
    remedies: tuple[Remedy, ...],
    plan: Plan,
    shows_late: bool,
) -> tuple[Readings, tuple[TriedRemedy, ...]]:
    """With the plan that the trials held to and the training as it is; what remedies did for it.

    Args:
        case: the examination.
        readings: everything that was measured.
        remedies: what to try, what promises most first.
        plan: made before anything was known.
        shows_late: whether short trials would show nothing. Then they are looked at once, late: few
            long pairs tell more than many short ones.
    """
    problem, training, seed, ledger = case.problem, case.training, case.seed, case.ledger
    has_little = is_tight(problem, ledger.budget)
    looks = LATE if shows_late else LOOKS
    if shows_late and has_little:
        plan, remedies = _from_where_it_shows(plan, readings, remedies, ledger)
    fit = partial(
        fitted,
        plan,
        ledger.gradients_left,
        case.fraction,
        num_epochs=problem.epochs,
        scoring=sum(map(num_samples, plan.held_out)) / problem.num_samples / 3,
        control=CUT_SHORT if readings.watched.failure else 1.0,
        pairs=looks[-1][0] if has_little else NUM_SEEDS,
    )
    marks = None if plan.takes_leftover else readings.watched.marks
    # What breaks off is planned for as a short run already.
    own = [] if readings.watched.failure or plan.start or marks is None else [marks]
    plan, most = fit(remedies, taken=own)
    if remedies and (most < NUM_FINALISTS or (has_little and shows_late)):
        # Too little is left to compare: what promises most is proved first.
        remedies = (replace(remedies[0], is_direct=True), *remedies[1:])
        plan, most = fit(remedies, taken=[*own, *begun_by(remedies[0], plan)])
    may_raise = case.readable is None or readings.watched.error is not None or plan.takes_leftover
    number = looks[0][0] if has_little else NUM_SEEDS
    may_be_longer = bool(remedies) and has_little and not shows_late
    if may_be_longer and _ends_in_warm_up(problem, plan, readings.total_steps):
        # Few pairs that come out of it tell more than many that do not.
        plan, _ = fit(remedies, pairs=number, taken=[*own, *begun_by(remedies[0], plan)])
    control = _control(Control(training, plan, seed, may_raise, marks), number, problem, ledger)
    readings = replace(readings, plan=control.plan, control=tuple(control.runs))
    with ledger.measuring("remedies", 0.5):
        tried: tuple[TriedRemedy, ...] = ()
        if remedies and not ledger.is_interrupted:
            more = control if has_little and len(looks) > 1 else None
            tried = contest(remedies, training, readings, ledger, (0.5, 1.0), most, more)
    return replace(readings, plan=control.plan, control=tuple(control.runs)), tried


def _from_where_it_shows(
    plan: Plan, readings: Readings, remedies: tuple[Remedy, ...], ledger: Ledger
) -> tuple[Plan, tuple[Remedy, ...]]:
    """The plan for what shows late, and the remedies that it can try.

    Where the remedy changes the step alone, trials begin where the watched training was left: there
    the fault has gathered what it takes to show. Where the training has lost again what it had
    learned, they begin before that: what has happened since may be what no remedy takes back.
    """
    plan = replace(plan, averaged=AVERAGED)
    since = readings.lost_since
    if since is None and readings.learned < NOTHING:
        since = readings.levels.lowest_at(readings.watched.losses)
    start = readings.watched.marks.before(since or inf)
    if readings.watched.failure or not (remedies and remedies[0].keeps_network):
        return plan, remedies
    plan = replace(plan, start=start)
    reasons = {remedy.name: kept_out(remedy, plan) for remedy in remedies}
    for name, reason in reasons.items():
        if reason:
            ledger.omit(f"remedy: {name}", reason)
    return plan, tuple(remedy for remedy in remedies if not reasons[remedy.name])


def _ends_in_warm_up(problem: Problem, plan: Plan, total_steps: int) -> bool:
    """Whether trials would end before their schedule has raised the learning rate."""
    return yet_to_rise(problem, plan.batch_size, plan.num_steps, total_steps) > WARMING


def _control(control: Control, number: int, problem: Problem, ledger: Ledger) -> Control:
    """With so many runs of the network as it is.

    Where the first takes far longer than planned, the plan is shortened and the run repeated.
    """
    with ledger.measuring(f"training as it is, {number} seeds", 0.4) as gradients:
        first = control.another()
        excess = NUM_RUNS * first.seconds / max(ledger.seconds_left, 1e-3)
        shorter = shortened(control.plan, excess)
        if excess > TOLERATED_EXCESS and shorter != control.plan:
            gradients.append(first.cost / problem.num_samples)
            begun = control.begun
            control = Control(control.training, shorter, control.seed, control.may_raise, begun)
            control.another()
        try:
            for k in range(1, number):
                ledger.progress("training as it is", 0.4 + 0.1 * k / number)
                control.another()
        except KeyboardInterrupt:
            ledger.is_interrupted = True
        gradients.append(control.cost / problem.num_samples)
    return control
