"""examine: read a network, find what ails its training, and prove a remedy by trying it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from math import isfinite

import torch

from thalweg._budget import Budget
from thalweg._errors import ThalwegError
from thalweg._layout import Layout
from thalweg._machine import machine_of
from thalweg._problem import OptimizerFactory, Problem
from thalweg._progress import Progress
from thalweg._training import parameters_of
from thalweg.doctor._another_look import looked_again
from thalweg.doctor._card import card_of
from thalweg.doctor._case import Case, completed, planned, refuse_rates
from thalweg.doctor._examination import Examination
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._looks import UNMOVED, first_read, gathered, judged, watched, with_pass
from thalweg.doctor._observation import Watching, readable_form
from thalweg.doctor._planning import is_tight
from thalweg.doctor._readings import Readings
from thalweg.doctor._suspicion import settled_with, suspicions_of
from thalweg.doctor._trial import made_optimizer
from thalweg.doctor._trying import answers, tried_on
from thalweg.doctor.findings import find
from thalweg.doctor.remedies import Remedy
from thalweg.report import Interrupted
from thalweg.surface import Surface

MAX_SEED = 2**32 - 1
"""Every generator takes seeds up to here."""


SHOWING_LATE = (Ailment.MOMENTUM, Ailment.ACCUMULATED)
"""Of what short trials show nothing: before it throws the walk off, it only makes it faster."""


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
        control's by a paired one-sided t test over the seeds, or by the ranks of all runs, at 95 %
        for both and all finalists together, and by 2 % at least.

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
    if not _is_frozen(problem):
        Layout.of(problem.parameters)  # refuses what is no network to train, before anything is run
    ledger = Ledger(progress or (lambda stage, share: None), budget)
    problem, batch_size = completed(problem, optimizer, batch_size, ledger)
    made = made_optimizer(problem.copied())
    refuse_rates(made)
    readable, refusal = readable_form(problem)
    plan, training = planned(problem, readable, batch_size, budget, seed)
    case = Case(problem, readable, training, made, seed, ledger)
    watching = Watching(problem, training, plan, seed, ledger)

    readings = first_read(case, plan, watching)
    is_certain = bool(find(readings))
    surface = None
    if readable is not None:
        surface = Surface(readable, params)
        readings = with_pass(case, readable, readings)
    findings: tuple[Finding, ...] | None = None
    suspect: Remedy | None = None
    if not is_certain:
        readings, findings, suspect = watched(case, readings, watching, partial(_tell, ledger))
    if surface is not None and is_tight(problem, budget) and (is_certain or findings):
        ledger.omit("curvature", f"a cause is known without it, and {budget} go to proofs")
    elif surface is not None:
        readings = replace(readings, card=card_of(surface, made, seed, ledger))
    readings, findings = judged(case, readings, findings, watching)
    if not findings and (error := refusal or readings.watched.error) is not None:
        raise error

    remedies = answers(case, readings, findings, suspect)
    # What averages over many steps, or sums up over all, goes wrong after as many.
    shows_late = any(finding.ailment in SHOWING_LATE for finding in findings)
    if remedies and remedies[0].keeps_network:
        if shows_late and not budget.is_seconds:
            readings = gathered(case, readings, watching)
        shows_late |= readings.lost_since is not None
    if any(each.ailment is Ailment.BATCH_OF_ONE and each.needs_proof for each in findings):
        plan = replace(plan, takes_leftover=True)
    readings, tried = tried_on(case, readings, remedies, plan, shows_late)
    # Of a doubt that is not proved nothing is known that might hide others.
    is_known = not all(each.needs_proof or each.ailment in UNMOVED for each in findings)
    if tried and remedies[0].is_direct and is_known:
        findings, tried = looked_again(case, readings, findings, remedies[0], tried)
    # What helps against a symptom proves no doubt beside it.
    of_doubts = {remedy.name for remedy in remedies if remedy.is_of_doubt}
    proved = [each.name for each in tried if each.is_proved]
    is_proved = bool(of_doubts.intersection(proved) if of_doubts else proved)
    findings, suspicions = settled_with(findings, ledger.suspicions, is_proved)
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
        learned=readings.learned if isfinite(readings.learned) else None,
        num_watched=readings.num_seen,
        is_learning=readings.trains,
        begun_at=readings.plan.start.num_steps if readings.plan.start else 0,
    )
    if ledger.is_interrupted:
        raise InterruptedExamination(examination)
    return examination


def _is_frozen(problem: Problem) -> bool:
    """Whether a network has parameters, and none that is trainable: that is an ailment."""
    parameters = list(problem.model.parameters())
    return bool(parameters) and not any(p.requires_grad for p in parameters)


def _tell(ledger: Ledger, early: Readings, unconfirmed: Sequence[Finding]) -> None:
    """Names what an epoch makes one suspect."""
    for suspicion in suspicions_of(early, unconfirmed):
        ledger.suspect(suspicion, 0.13)


def _in_words(optimizer: torch.optim.Optimizer) -> str:
    group = optimizer.param_groups[0]
    settings = [f"lr {group['lr']:g}"]
    settings += [f"momentum {group['momentum']:g}"] if group.get("momentum") else []
    settings += [f"weight decay {group['weight_decay']:g}"] if group.get("weight_decay") else []
    return f"{type(optimizer).__name__}, {', '.join(settings)}"
