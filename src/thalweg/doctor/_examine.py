"""examine: read a network, find what ails its training, and prove a remedy by trying it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from math import inf, nan

import torch

from thalweg._batch import num_samples
from thalweg._budget import Budget
from thalweg._errors import ThalwegError
from thalweg._layout import Layout
from thalweg._machine import machine_of
from thalweg._problem import OptimizerFactory, Problem
from thalweg._progress import Progress
from thalweg._reduction import Reduction
from thalweg._score import constant_loss, shuffled_loss
from thalweg._training import parameters_of, split
from thalweg.doctor._card import card_of
from thalweg.doctor._changed_data import is_finite, with_rows
from thalweg.doctor._confirm import Confirmation
from thalweg.doctor._contest import LOOKS, NUM_FINALISTS, contest
from thalweg.doctor._control import Control
from thalweg.doctor._examination import Examination, TriedRemedy
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import Watching, readable_form
from thalweg.doctor._planning import (
    NUM_RUNS,
    NUM_SEEDS,
    fitted,
    plan_trials,
    shortened,
)
from thalweg.doctor._readings import Readings
from thalweg.doctor._suspicion import settled_with, suspicions_of
from thalweg.doctor._trial import Plan, made_optimizer
from thalweg.doctor._watch import settling
from thalweg.doctor.findings import find, suspected
from thalweg.doctor.remedies import Remedy, joined, remedies_for
from thalweg.passes import Pass
from thalweg.report import Interrupted
from thalweg.signal import Signal
from thalweg.surface import Surface

TOLERATED_EXCESS = 1.5
"""Trials that look to take this many times the time that is left are shortened."""

READ_SHARE, LEAST_READ = 0.04, 128
"""Of a budget in gradients for the pass, and samples that it reads at least."""

CONFIRMED = 0.15
"""Of a budget in gradients, for what confirms a suspicion of the first epoch."""

PROVING = 0.4
"""Of a budget in gradients, that is left for proofs where remedies look for their settings."""

ANOTHER_LOOK = 0.4
"""Of the budget, that must be left for another look, at what else ails a training."""

CUT_SHORT = 0.3
"""Of a whole run's cost, for planning, is that of a training that breaks off."""

SHORTEST = 200
"""Steps that are watched of a problem that cannot be read."""

MAX_SEED = 2**32 - 1
"""Every generator takes seeds up to here."""


class InterruptedExamination(Interrupted):
    """Ctrl-C during the trials, with what there was by then.

    Args:
        found: with all findings, and the remedies that were proved; it says that it is
            partial.
    """

    found: Examination


def examine(
    problem: Problem,
    *,
    optimizer: OptimizerFactory | None = None,
    batch_size: int | None = None,
    params: str | Iterable[str] = "*",
    budget: Budget | str = "60s",
    seed: int = 0,
    progress: Progress | None = None,
) -> Examination:
    """Says what the surface looks like, what is wrong with the training, and what helps.

    Readings first: the data, how output and loss meet, a training on a copy by the whole recipe,
    watched until it is clear that it learns; the pass, how gradient and scale run with depth, and
    the critical-point card. Rules over all of that make findings, causes first; a symptom is a
    finding only where the watched training does not learn what can be learned of the data. Each
    finding names remedies; each remedy is tried on copies with the same seeds, data order and
    steps. Where taking away the cause is not proved to help alone, and budget is left, the training
    is looked at again without it, for faults that it hid. Nothing of the caller's is changed. What
    breaks the training (NaN in the data, an output that the loss refuses) is a finding, not an
    error.

    Args:
        problem: model, loss and data; its own optimizer and batch size unless given here.
        optimizer: a function of the parameters; Adam at 0.001 is assumed where none is known.
        batch_size: of the trials.
        params: globs that choose the parameters whose curvature is read.
        budget: seconds ("60s", "2m") or gradients ("5000g"). In gradients, the same seed gives the
            same examination; in seconds it may plan otherwise on a slower machine.
        seed: everything random is drawn from it.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        The examination; `.findings` is empty for a healthy network.

    Raises:
        ProblemError: if the problem cannot be read; see `Problem.check`.
        SecondDerivativeError: if an operation of the network has no second derivative.
        BudgetError: if the budget does not allow even the shortest trial.
        InterruptedExamination: on Ctrl-C, once the findings are known and the network was trained
            as it is; holds what there was by then.
        ThalwegError: if the seed is negative or above 2³² − 1.

    Cost:
        About the budget. A remedy counts as proved if its held-out loss is lower than the
        control's by a paired one-sided t test over the seeds, at 95 % for all finalists together,
        and by 2 % at least.

    Example:
        >>> import thalweg, thalweg.problems
        >>> examination = thalweg.examine(thalweg.problems.relu_digits(), budget="1000g")
        >>> examination.is_healthy
        True
    """
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    if not 0 <= seed <= MAX_SEED:
        raise ThalwegError(f"seed={seed}; give a whole number from 0 to {MAX_SEED}")
    problem.ranks.refuse("examine(problem)")
    Layout.of(problem.parameters)  # refuses what is no network to train, before anything is run
    ledger = Ledger(progress or (lambda stage, share: None), budget)
    problem, batch_size = _completed(problem, optimizer, batch_size, ledger)
    made = made_optimizer(problem.copied())
    readable, refusal = readable_form(problem)
    plan, training = _planned(problem, readable, batch_size, budget, seed)
    case = _Case(problem, readable, training, made, seed, ledger)
    watching = Watching(problem, training, plan, seed, ledger)

    readings = _first_read(case, plan, watching)
    is_certain = bool(find(readings))
    surface = None
    if readable is not None:
        surface = Surface(readable, params)
        readings = _passed(case, readable, readings)
    findings: tuple[Finding, ...] | None = None
    suspect: Remedy | None = None
    if not is_certain:
        readings, findings, suspect = _watched(case, readings, watching, partial(_tell, ledger))
    if surface is not None:
        readings = replace(readings, card=card_of(surface, made, seed, ledger))
    findings = _judged(case, readings, findings)
    if not findings and (error := refusal or readings.watched.error) is not None:
        raise error

    remedies = _answers(case, readings, findings, suspect)
    # What averages over many steps goes wrong after as many.
    shows_late = any(finding.ailment is Ailment.MOMENTUM for finding in findings)
    readings, tried = _tried(case, readings, remedies, plan, shows_late)
    if tried and remedies[0].is_direct:
        findings, tried = _looked_again(case, readings, findings, remedies[0], tried)
    findings, suspicions = settled_with(findings, ledger.suspicions)
    ledger.progress("done", 1.0)
    examination = Examination(
        title=problem.name or type(problem.model).__name__,
        num_parameters=sum(p.numel() for p in parameters_of(problem.model)),
        num_samples=problem.num_samples,
        loss=readings.passed.value,
        findings=findings,
        suspicions=suspicions,
        remedies=tried,
        control=readings.control,
        signal=readings.signal,
        card=readings.card,
        constant_loss=readings.constant_loss,
        num_steps=readings.plan.num_steps,
        batch_size=readings.plan.batch_size,
        optimizer=_in_words(made),
        measurements=tuple(ledger.measurements),
        omissions=tuple(ledger.omissions),
        assumptions=tuple(ledger.assumptions),
        seed=seed,
        budget=budget,
        machine=machine_of(next(problem.model.parameters())),
        is_partial=ledger.is_interrupted,
    )
    if ledger.is_interrupted:
        raise InterruptedExamination(examination)
    return examination


@dataclass(frozen=True)
class _Case:
    """What every step of an examination is told.

    Args:
        problem: as handed over, with the optimizer and batch size in use or assumed.
        readable: with everything held that is random in its mode; None where it cannot be read.
        training: what is trained, on copies; its held-out data are apart.
        optimizer: in use or assumed, on a copy, to read its settings.
        seed: everything random is drawn from it.
        ledger: what may be spent, and what was.
    """

    problem: Problem
    readable: Problem | None
    training: Problem
    optimizer: torch.optim.Optimizer
    seed: int
    ledger: Ledger

    @property
    def fraction(self) -> float:
        """Gradients over all data that a step costs: its minibatch, as a share of the data."""
        assert self.problem.batch_size is not None, "assumed where it was not named"
        return min(1.0, self.problem.batch_size / self.problem.num_samples)


def _planned(
    problem: Problem, readable: Problem | None, batch_size: int, budget: Budget, seed: int
) -> tuple[Plan, Problem]:
    """What all trials have in common, and what they train.

    Planned before anything is run, so that a budget that is too small is refused at once.
    """
    if readable is not None:
        plan, training = plan_trials(readable, batch_size, budget, seed)
        training = replace(training, model=problem.model)
        if readable.num_samples < problem.num_samples:
            # What cannot be read is trained on all the same, by their own step.
            unread = with_rows(problem, lambda batch: ~is_finite(batch)).batches
            training = training.with_data([*training.batches, *unread])
    else:
        plan, training = _unplanned(problem, batch_size, seed)
    # A remedy that changes the data changes those that it is judged on with them.
    return plan, replace(training, test=list(plan.held_out))


def _first_read(case: _Case, plan: Plan, watching: Watching) -> Readings:
    """What the data and the first steps of a training show."""
    with case.ledger.measuring("one training, its first steps", 0.02) as gradients:
        before = watching.first_steps()
        gradients.append(case.fraction * before.watched.num_steps)
    unread = Pass(nan, (), (), case.problem.num_samples)
    return Readings(
        case.problem, unread, Signal.of(unread), None, case.optimizer, (), plan, None, None, before
    )


def _passed(case: _Case, readable: Problem, readings: Readings) -> Readings:
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


def _watched(
    case: _Case,
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
            most = inf if budget.is_seconds else CONFIRMED * budget.amount
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


def _tell(ledger: Ledger, early: Readings, unconfirmed: Sequence[Finding]) -> None:
    """Names what an epoch makes one suspect."""
    for suspicion in suspicions_of(early, unconfirmed):
        ledger.suspect(suspicion, 0.13)


def _judged(
    case: _Case, readings: Readings, confirmed: tuple[Finding, ...] | None
) -> tuple[Finding, ...]:
    """What was confirmed already, else what the rules find in all that was read."""
    with case.ledger.measuring("rules, and probes of other learning rates", 0.35) as gradients:
        if confirmed is not None:
            return confirmed
        probed = readings.probe.cost
        findings = find(readings)
        gradients.append(case.fraction * (readings.probe.cost - probed) + readings.cost)
    return findings


def _answers(
    case: _Case, readings: Readings, findings: tuple[Finding, ...], suspect: Remedy | None
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


def _tried(
    case: _Case,
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
        shows_late: whether short trials would show nothing. Then they are looked at once, late: two
            long pairs tell more than four short ones.
    """
    problem, training, seed, ledger = case.problem, case.training, case.seed, case.ledger
    is_tight = not ledger.budget.is_seconds and problem.epochs is not None
    looks = LOOKS[:1] if shows_late else LOOKS
    fit = partial(
        fitted,
        plan,
        ledger.gradients_left,
        case.fraction,
        num_epochs=problem.epochs,
        scoring=sum(map(num_samples, plan.held_out)) / problem.num_samples / 3,
        control=CUT_SHORT if readings.watched.failure else 1.0,
        pairs=looks[-1][0] if is_tight else NUM_SEEDS,
    )
    plan, most = fit(remedies)
    if remedies and (most < NUM_FINALISTS or (is_tight and shows_late)):
        # Too little is left to compare: what promises most is proved first.
        remedies = (replace(remedies[0], is_direct=True), *remedies[1:])
        plan, most = fit(remedies)
    may_raise = case.readable is None or readings.watched.error is not None
    number = looks[0][0] if is_tight else NUM_SEEDS
    control = _control(Control(training, plan, seed, may_raise), number, problem, ledger)
    readings = replace(readings, plan=control.plan, control=tuple(control.runs))
    with ledger.measuring("remedies", 0.5):
        tried: tuple[TriedRemedy, ...] = ()
        if remedies and not ledger.is_interrupted:
            more = control if is_tight and len(looks) > 1 else None
            tried = contest(remedies, training, readings, ledger, (0.5, 1.0), most, more)
    return replace(readings, plan=control.plan, control=tuple(control.runs)), tried


def _looked_again(
    case: _Case,
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
        and ledger.share_left >= ANOTHER_LOOK
    ):
        ledger.progress = lambda stage, _: told(f"another look: {stage}", 0.9)
        try:
            found, remedies = _without(remedy, case, readings)
        except ThalwegError as error:
            ledger.omit(f"another look, with {remedy.name}", str(error))
            break
        finally:
            ledger.progress = told
        known = {finding.ailment for finding in findings}
        findings = (*findings, *(each for each in found if each.ailment not in known))
        joint = tuple(joined(remedy, each) for each in remedies)
        remedy = joint[0] if joint else None
        if joint:
            with ledger.measuring("remedies together", 0.9):
                more = contest(joint, case.training, readings, ledger, (0.9, 1.0), 1)
            tried = tuple(sorted((*tried, *more), key=lambda each: not each.is_proved))
    return findings, tried


def _without(
    remedy: Remedy, case: _Case, readings: Readings
) -> tuple[tuple[Finding, ...], tuple[Remedy, ...]]:
    """What is found with a remedy in place, and what may help then.

    Raises:
        ThalwegError: if it cannot be run so.
    """
    generator = torch.Generator().manual_seed(case.seed)
    problem = remedy.apply(case.problem.copied(), generator)
    training = remedy.apply(case.training.copied(), generator)
    readable, _ = readable_form(problem)
    case = replace(case, problem=problem, readable=readable, training=training)
    watching = Watching(problem, training, readings.plan, case.seed, case.ledger)
    seen = _first_read(case, readings.plan, watching)
    if readable is not None:
        seen = _passed(case, readable, seen)
    seen, findings, suspect = _watched(case, seen, watching)
    findings = _judged(case, seen, findings)
    return findings, _answers(case, seen, findings, suspect)


def _affordable(problem: Problem, seed: int, ledger: Ledger) -> Problem:
    """The problem, or as many of its samples as a small budget in gradients lets a pass read."""
    budget = ledger.budget
    if budget.is_seconds or problem.epochs is None:
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


def _unplanned(problem: Problem, batch_size: int, seed: int) -> tuple[Plan, Problem]:
    """What to watch of a problem that cannot be read, and how its remedies are tried."""
    training, held_out = split(problem, torch.Generator().manual_seed(seed))
    reduction = Reduction(lambda batch, _: float(num_samples(batch)), False, "samples")
    return Plan(SHORTEST, batch_size, held_out, reduction, 1), training


def _completed(
    problem: Problem,
    optimizer: OptimizerFactory | None,
    batch_size: int | None,
    ledger: Ledger,
) -> tuple[Problem, int]:
    """The problem with an optimizer and a batch size; what had to be assumed is noted."""
    if optimizer is not None:
        problem = replace(problem, optimizer=optimizer)
    elif problem.optimizer is None:
        problem = replace(problem, optimizer=lambda params: torch.optim.Adam(params, lr=1e-3))
        ledger.assume(
            "No optimizer was named, so Adam at learning rate 0.001 was assumed; pass "
            "Problem(..., optimizer=lambda params: ...) to have yours examined."
        )
    if problem.test is None:
        ledger.assume(
            "No held-out data were given, so a fifth of the data was held out for the trials."
        )
    if batch_size is not None:
        problem = replace(problem, batch_size=batch_size)
    batch_size = problem.batch_size
    if batch_size is None:
        largest = max(num_samples(batch) for batch in problem.batches)
        batch_size = largest if len(problem.batches) > 1 else min(largest, 64)
        problem = replace(problem, data=problem.batches, batch_size=batch_size)
        ledger.assume(f"No batch size was named, so minibatches of {batch_size} were assumed.")
    return problem, batch_size


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
            control = Control(control.training, shorter, control.seed, control.may_raise)
            control.another()
        try:
            for k in range(1, number):
                ledger.progress("training as it is", 0.4 + 0.1 * k / number)
                control.another()
        except KeyboardInterrupt:
            ledger.is_interrupted = True
        gradients.append(control.cost / problem.num_samples)
    return control


def _in_words(optimizer: torch.optim.Optimizer) -> str:
    group = optimizer.param_groups[0]
    settings = [f"lr {group['lr']:g}"]
    settings += [f"momentum {group['momentum']:g}"] if group.get("momentum") else []
    settings += [f"weight decay {group['weight_decay']:g}"] if group.get("weight_decay") else []
    return f"{type(optimizer).__name__}, {', '.join(settings)}"
