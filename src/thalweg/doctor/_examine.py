"""examine: read a network, find what ails its training, and prove a remedy by trying it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from math import nan
from time import perf_counter

import torch
from torch import Tensor

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
from thalweg.curvature import CriticalPoint, StepRule, critical_point
from thalweg.doctor._contest import NUM_FINALISTS, contest
from thalweg.doctor._examination import Examination
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._observation import Observation, observe, readable_form
from thalweg.doctor._planning import (
    NUM_RUNS,
    NUM_SEEDS,
    fitted,
    plan_curvature,
    plan_trials,
    shortened,
)
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Plan, Run, made_optimizer, tolerant, train
from thalweg.doctor._watch import Watched
from thalweg.doctor.findings import find
from thalweg.doctor.remedies import remedies_for
from thalweg.passes import Pass
from thalweg.signal import Signal
from thalweg.surface import Point, Surface

TOLERATED_EXCESS = 1.5
"""Trials that look to take this many times the time that is left are shortened."""

SHORTEST = 200
"""Steps that are watched of a problem that cannot be read."""

MAX_SEED = 2**32 - 1
"""Every generator takes seeds up to here."""


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
    steps. Nothing of the caller's is changed. What breaks the training (NaN in the data, an output
    that the loss refuses) is a finding, not an error.

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
    if readable is not None:
        # Planned first, so that a budget that is too small is refused at once.
        plan, training = plan_trials(readable, batch_size, budget, seed)
        training = replace(training, model=problem.model)
    else:
        plan, training = _unplanned(problem, batch_size, seed)
    # A remedy that changes the data changes those that it is judged on with them.
    training = replace(training, test=list(plan.held_out))

    def is_certain(first: Observation) -> bool:
        return bool(find(_first_readings(problem, made, plan, first)))

    before = observe(problem, training, plan, seed, ledger, is_certain)
    passed, card = Pass(nan, (), (), problem.num_samples), None
    signal = Signal.of(passed)
    if readable is not None:
        surface = Surface(readable, params)
        with ledger.measuring("pass, and signal through depth", 0.2) as gradients:
            passed = Pass.of(readable)
            signal = Signal.of(passed)
            gradients.append(2.0)
        card = _card(surface, made, budget, seed, ledger)
    fraction = min(1.0, batch_size / problem.num_samples)
    readings = Readings(
        problem=problem,
        passed=passed,
        signal=signal,
        signal_after=_signal_after(before.watched),
        card=card,
        optimizer=made,
        control=(),
        plan=plan,
        constant_loss=constant_loss(problem) if readable is not None else None,
        shuffled_loss=shuffled_loss(readable, torch.Generator().manual_seed(seed))
        if readable is not None
        else None,
        observed=before,
    )
    with ledger.measuring("rules, and probes of other learning rates", 0.35) as gradients:
        findings = find(readings)
        gradients.append(fraction * readings.probe.cost)
    if not findings and (error := refusal or before.watched.error) is not None:
        raise error
    with ledger.measuring("what may help", 0.38) as gradients:
        remedies, not_applicable = remedies_for(findings, readings)
        gradients.append(sum(remedy.num_samples for remedy in remedies) / problem.num_samples)
    for remedy in not_applicable:
        ledger.omit(f"remedy: {remedy.name}", remedy.reason)
    plan, most = fitted(plan, ledger.gradients_left, fraction, remedies, problem.epochs)
    if most < NUM_FINALISTS and remedies:
        # Too little is left to compare: what promises most is proved first.
        remedies = (replace(remedies[0], is_direct=True), *remedies[1:])
        plan, most = fitted(plan, ledger.gradients_left, fraction, remedies, problem.epochs)
    may_raise = readable is None or before.watched.error is not None
    run = tolerant if may_raise else train
    plan, control = _control(training, plan, fraction, seed, ledger, run)
    readings = replace(readings, plan=plan, control=control)
    with ledger.measuring("remedies", 0.5) as gradients:
        shares = (0.5, 1.0)
        tried = contest(remedies, training, readings, ledger, shares, most) if remedies else ()
        runs = [run for t in tried for run in (*t.runs, *([t.screening] if t.screening else []))]
        gradients.append(sum(run.num_samples for run in runs) / problem.num_samples)
    ledger.progress("done", 1.0)
    return Examination(
        title=problem.name or type(problem.model).__name__,
        num_parameters=sum(p.numel() for p in parameters_of(problem.model)),
        num_samples=problem.num_samples,
        loss=passed.value,
        findings=findings,
        remedies=tried,
        control=control,
        signal=signal,
        card=card,
        constant_loss=readings.constant_loss,
        num_steps=plan.num_steps,
        batch_size=plan.batch_size,
        optimizer=_in_words(made),
        measurements=tuple(ledger.measurements),
        omissions=tuple(ledger.omissions),
        assumptions=tuple(ledger.assumptions),
        seed=seed,
        budget=budget,
        machine=machine_of(next(problem.model.parameters())),
    )


def _first_readings(
    problem: Problem, made: torch.optim.Optimizer, plan: Plan, first: Observation
) -> Readings:
    """What is known after a first look, before anything is read at the point."""
    passed = Pass(nan, (), (), problem.num_samples)
    signal = Signal.of(passed)
    return Readings(problem, passed, signal, None, None, made, (), plan, None, None, observed=first)


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


def _card(
    surface: Surface, optimizer: torch.optim.Optimizer, budget: Budget, seed: int, ledger: Ledger
) -> CriticalPoint | None:
    """The critical-point card, as much of it as the budget buys."""
    problem = surface.problem
    with ledger.measuring("curvature: eigenvalues, index, verdict", 0.25) as gradients:
        point = surface.here()
        if point.unused:
            ledger.assume(_said_unused(point.unused))
        # A budget in gradients asks no clock.
        seconds = _seconds_per_product(point) if budget.is_seconds else 1.0
        plan = plan_curvature(budget, seconds, surface.layout.size, problem.num_samples)
        if plan is None:
            # What a clock shows has no place in an examination that repeats exactly.
            price = f" of {seconds:.2g} s each" if budget.is_seconds else ""
            ledger.omit(
                "curvature",
                f"{budget} buys too few products with the Hessian{price}; give a larger budget",
            )
            return None
        generator = torch.Generator().manual_seed(seed)
        if plan.num_samples is not None:
            part = problem.subsampled(plan.num_samples, generator)
            point = Surface(part, surface.layout.names).here()
            ledger.omit(
                "curvature on all data",
                f"it was read on {part.num_samples:,} of {problem.num_samples:,} samples, to fit "
                f"{budget}",
            )
        rule = StepRule.of(optimizer)
        scale = None
        if rule is None:
            ledger.omit(
                "stability limit",
                f"none is known for {type(optimizer).__name__}; its learning "
                f"rate was judged by the trials alone",
            )
        elif rule.epsilon is not None:
            scale = _root_mean_square_gradient(point.problem, surface, generator)
        card = critical_point(
            point,
            rule=rule,
            preconditioner=scale,
            generator=generator,
            dense_up_to=plan.dense_up_to,
            num_probes=max(plan.num_probes, 1),
        )
        share = point.problem.num_samples / problem.num_samples
        gradients.append(share * card.num_gradients)
    return card


def _said_unused(names: tuple[str, ...]) -> str:
    some = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
    return (
        f"{len(names)} parameter(s) do not enter the loss: {some}; their gradient and curvature "
        f"were counted as zero. Remove them, or freeze them with requires_grad_(False)."
    )


def _seconds_per_product(point: Point, num_products: int = 3) -> float:
    """The mean of some products with the Hessian, after one that builds the graph."""
    hessian, vector = point.hessian(), torch.ones_like(point.vector)
    _ = hessian @ vector
    start = perf_counter()
    for _ in range(num_products):
        _ = hessian @ vector
    return (perf_counter() - start) / num_products


def _root_mean_square_gradient(
    problem: Problem, surface: Surface, generator: torch.Generator, num_batches: int = 8
) -> Tensor:
    """√v that Adam would settle on here: the root mean square of minibatch gradients."""
    size = problem.batch_size or 64
    squares = torch.zeros(surface.layout.size, dtype=torch.float64)
    for _, batch in zip(range(num_batches), problem.minibatches(size, generator), strict=False):
        part = problem.with_data([batch])
        gradient = Surface(part, surface.layout.names).here().gradient_vector
        squares += gradient.double().cpu().square() / num_batches
    return squares.sqrt().to(surface.layout.device)


def _control(
    training: Problem,
    plan: Plan,
    fraction: float,
    seed: int,
    ledger: Ledger,
    run: Callable[[Problem, Plan, int], Run],
) -> tuple[Plan, tuple[Run, ...]]:
    """Runs of the network as it is, with the plan they hold to.

    Where the first run takes far longer than planned, the plan is shortened and the run repeated.
    """
    with ledger.measuring(f"training as it is, {NUM_SEEDS} seeds", 0.4) as gradients:
        runs = [run(training.copied(), plan, seed)]
        excess = NUM_RUNS * runs[0].seconds / max(ledger.seconds_left, 1e-3)
        if excess > TOLERATED_EXCESS and (shorter := shortened(plan, excess)) != plan:
            gradients.append(fraction * runs[0].num_steps)
            plan = shorter
            runs = [run(training.copied(), plan, seed)]
        for k in range(1, NUM_SEEDS):
            ledger.progress("training as it is", 0.4 + 0.1 * k / NUM_SEEDS)
            runs.append(run(training.copied(), plan, seed + k))
        gradients.append(fraction * sum(each.num_steps for each in runs))
    return plan, tuple(runs)


def _signal_after(watched: Watched) -> Signal | None:
    if watched.failure:
        return None
    try:
        return Signal.of(Pass.of(watched.problem.in_eval_mode()))
    except ThalwegError:
        # A training that broke down leaves parameters with no finite loss; the finding says so.
        return None


def _in_words(optimizer: torch.optim.Optimizer) -> str:
    group = optimizer.param_groups[0]
    settings = [f"lr {group['lr']:g}"]
    settings += [f"momentum {group['momentum']:g}"] if group.get("momentum") else []
    settings += [f"weight decay {group['weight_decay']:g}"] if group.get("weight_decay") else []
    return f"{type(optimizer).__name__}, {', '.join(settings)}"
