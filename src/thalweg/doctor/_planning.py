"""How a budget is spent: how long the trials are, and how much curvature is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf
from time import perf_counter

import torch

from thalweg._batch import num_samples
from thalweg._budget import Budget
from thalweg._errors import BudgetError
from thalweg._problem import Problem
from thalweg._sampling import drawn
from thalweg._training import num_threads, split
from thalweg.doctor._heat import NUM_FINALISTS, SCREENING
from thalweg.doctor._marks import Marks
from thalweg.doctor._trial import Plan, train
from thalweg.doctor.remedies import Remedy

NUM_SEEDS = 3
"""Paired runs of the control, and of every remedy that reaches the final."""

CURVATURE_SHARE = 0.3
"""Of the budget, for the curvature."""

LEAST_CURVED = (32, 128)
"""Samples that curvature is read on at least; the second where the epochs are named: trainings tell
more there, and what so few samples cost proves more where it is spent on trials."""

TRIAL_SHARE = 0.55
"""Of the budget, for the trials; the rest is a reserve."""

LENGTHS = (1000, 500, 300, 200, 100, 50)
"""Steps of a trial, so that small differences in speed do not change the plan. In fewer than 50
healthy networks look stuck."""

SHORTER = (30, 20, 10, 5)
"""And of a trial where they name their epochs: what the training is like is watched by then."""

LEAST, LEAST_SHARE = 20, 0.25
"""Steps that a remedy is proved in at least, or so much of an epoch where that is less, also where
less than that is left of the budget."""

SCORING_SHARE, LEAST_SCORED = 0.08, 64
"""Of a budget in gradients, for scores on held-out data; and samples that are held out at least."""

NUM_SCORES = 10
"""Forward passes over the held-out data where a single remedy meets the control: four and six."""

NUM_PRICED = 10
"""Steps taken to measure the price of one."""

NUM_EPOCHS = 25
"""No trial is longer than this many passes over the data, or 200 steps."""

EXPECTED_REMEDIES = 8
"""For planning: how many remedies enter a contest, at most."""


NUM_RUNS = NUM_SEEDS * (1 + NUM_FINALISTS) + EXPECTED_REMEDIES / SCREENING
"""Full runs, or their equivalent, in a whole examination."""


FEWEST_RUNS = 2 * NUM_SEEDS
"""Full runs where a single remedy meets the control."""


@dataclass(frozen=True)
class CurvaturePlan:
    """How the curvature is read.

    Args:
        dense_up_to: n up to which the dense Hessian is taken.
        num_probes: of the density, for larger n.
        num_samples: samples to read, None for all.
    """

    dense_up_to: int
    num_probes: int
    num_samples: int | None


def is_tight(problem: Problem, budget: Budget) -> bool:
    """Whether the budget is to be set against a training whose epochs are named."""
    return not budget.is_seconds and problem.epochs is not None


def plan_curvature(
    budget: Budget,
    seconds_per_product: float,
    num_parameters: int,
    num_samples: int,
    least: int = LEAST_CURVED[0],
) -> CurvaturePlan | None:
    """The most curvature that its share of the budget buys; None where it buys none.

    A product costs about two gradients. The dense Hessian takes n products, Lanczos at both ends
    about 150, and the density 48 a probe. Where all data are too dear, fewer samples are read, but
    no fewer than `least`.
    """
    products = budget.gradients(CURVATURE_SHARE, seconds_per_product / 2) / 2
    if num_parameters <= min(products, 1000):
        return CurvaturePlan(num_parameters, 0, None)
    for share in (1, 2, 4, 8, 16, 32, 64):
        probes = int((products * share - 150) // 48)
        if probes >= 2 and (share == 1 or num_samples // share >= least):
            used = None if share == 1 else num_samples // share
            return CurvaturePlan(0, min(probes, 8), used)
    return None


def plan_trials(
    problem: Problem, batch_size: int, budget: Budget, seed: int
) -> tuple[Plan, Problem]:
    """The length of the trials, and the problem they train on: held-out data set apart.

    Raises:
        ProblemError: if nothing can be held out.
        BudgetError: if even the shortest trial does not fit.
    """
    training, held_out = split(problem, torch.Generator().manual_seed(seed))
    count = num_threads(problem, batch_size)
    plan = Plan(LENGTHS[-1], batch_size, held_out, problem.reduction, count)
    fraction = min(1.0, batch_size / problem.num_samples)
    longest = max(200, round(NUM_EPOCHS / fraction))
    lengths = LENGTHS if problem.epochs is None else LENGTHS + SHORTER
    each = TRIAL_SHARE * budget.amount / (NUM_RUNS if problem.epochs is None else FEWEST_RUNS)
    if budget.is_seconds:
        step, around = _prices(training, replace(plan, num_steps=NUM_PRICED), seed)
        if around > each / 2:
            # Scoring on all held-out data would eat the budget: score on fewer.
            size = max(1, int(sum(map(num_samples, held_out)) * each / 2 / around))
            fewer, _ = drawn(held_out, size, torch.Generator().manual_seed(seed))
            plan, around = replace(plan, held_out=fewer), each / 2
        affordable = (each - around) / step
    else:
        affordable = each / fraction
        if problem.epochs is not None:
            # A third of a gradient a pass: of a short training that is much.
            paid = SCORING_SHARE * budget.amount * 3 / NUM_SCORES * problem.num_samples
            if (size := max(LEAST_SCORED, int(paid))) < sum(map(num_samples, held_out)):
                fewer, _ = drawn(held_out, size, torch.Generator().manual_seed(seed))
                plan = replace(plan, held_out=fewer)
    fitting = [length for length in lengths if length <= min(affordable, longest)]
    if not fitting:
        raise BudgetError(
            f"a budget of {budget} allows trials of {affordable:.3g} steps only, and at least "
            f"{lengths[-1]} are needed to tell whether a network trains; give "
            f"{budget.times(lengths[-1] / affordable).typed} or more"
        )
    return replace(plan, num_steps=fitting[0]), training


def fitted(
    plan: Plan,
    gradients_left: float,
    fraction: float,
    remedies: Sequence[Remedy],
    num_epochs: int | None = None,
    scoring: float = 0.0,
    control: float = 1.0,
    pairs: int = NUM_SEEDS,
    taken: Sequence[Marks] = (),
) -> tuple[Plan, int]:
    """The trials that fit what is left of a budget in gradients, and how many may be finalists.

    Where something takes away the cause itself, it alone is planned for. Else as many finalists as
    leave the trials half as long as planned at least, one if none do.

    Args:
        plan: made before anything was known.
        gradients_left: over all data.
        fraction: of the data in a step.
        remedies: that are to be tried.
        num_epochs: that they train for: trials may be longer than planned, up to these.
        scoring: gradients over all data that a score on the held-out data costs.
        control: what a run without a remedy costs, over one with: one that breaks off takes less.
        pairs: of runs with and without a finalist, at most.
        taken: by trainings that some of the runs go on from.
    """
    if gradients_left == inf:
        return plan, NUM_FINALISTS
    longest = plan.num_steps
    least = 1
    if num_epochs is not None and remedies:
        longest = max(longest, round(num_epochs / fraction))
        least = min(LEAST, max(1, round(LEAST_SHARE / fraction)))
    has_direct = any(remedy.is_direct for remedy in remedies)
    num_screened = 0 if has_direct else len(remedies)
    # What does not train in the screening is screened again with a smaller step.
    num_again = sum(not remedy.changes_step for remedy in remedies) if num_screened else 0
    for number in (1,) if has_direct else range(NUM_FINALISTS, 0, -1):
        runs = pairs * (control + number) + (num_screened + num_again) / SCREENING
        num_scores = pairs + 1 + 2 * pairs * number + 2 * (num_screened + num_again)
        num_scores += pairs * (1 + number) * bool(plan.averaged)
        steps = max(gradients_left - num_scores * scoring, 0.0) / fraction
        length = min(longest, _rounded(affordable_length(plan, steps, runs, taken)))
        if length >= least and (number == 1 or 2 * length >= plan.num_steps):
            return replace(plan, num_steps=length), number
    return replace(plan, num_steps=min(least, longest)), 1


def begun_by(remedy: Remedy, plan: Plan) -> tuple[Marks, ...]:
    """What a trial of a remedy goes on from, where its steps are those of the plan."""
    marks = remedy.begun
    is_other = plan.start is not None or (marks and marks.batch_size != plan.batch_size)
    return () if marks is None or is_other else (marks,)


def kept_out(remedy: Remedy, plan: Plan) -> str:
    """Why a remedy cannot be tried from where the trials begin; "" where it can."""
    if plan.start is None or remedy.keeps_network:
        return ""
    return f"the trials begin at step {plan.start.num_steps}, with the network as it is there"


def affordable_length(plan: Plan, steps: float, runs: float, taken: Sequence[Marks] = ()) -> int:
    """The longest that so many runs can be, where so many steps are left.

    Args:
        plan: whose stops decide what the runs are spared by those marks.
        steps: that may be taken.
        runs: how many there are; a short one counts for a part.
        taken: by trainings that some of them go on from, one each.
    """
    longest = int((steps + sum(marks.within(inf) for marks in taken)) / runs)
    for length in range(longest, 0, -1):
        if runs * length - sum(plan.spared(marks, length) for marks in taken) <= steps:
            return length
    return 0


def _rounded(steps: int) -> int:
    """Down to two digits."""
    digit: int = 10 ** max(0, len(str(steps)) - 2)
    return steps // digit * digit


def shortened(plan: Plan, factor: float) -> Plan:
    """The plan with trials shorter by that factor at least, or the shortest there are."""
    fitting = [length for length in LENGTHS if length * factor <= plan.num_steps]
    return replace(plan, num_steps=fitting[0] if fitting else LENGTHS[-1])


def _prices(training: Problem, plan: Plan, seed: int) -> tuple[float, float]:
    """Seconds a step, and seconds a run takes around its steps: copying and scoring.

    The least of three, since other work on the machine can only slow a run down.
    """
    steps, arounds = [], []
    for _ in range(3):
        start = perf_counter()
        run = train(training.copied(), plan, seed)
        arounds.append(perf_counter() - start - run.seconds)
        # A run that breaks down takes fewer steps than planned.
        steps.append(run.seconds / max(run.num_steps, 1))
    return max(min(steps), 1e-6), min(arounds)
