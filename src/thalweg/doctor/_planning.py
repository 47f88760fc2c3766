"""How a budget is spent: how long the trials are, and how much curvature is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from thalweg._batch import Batch, concatenate, num_samples, take
from thalweg._errors import BudgetError, ProblemError
from thalweg._problem import Problem
from thalweg.doctor._budget import Budget
from thalweg.doctor._contest import NUM_FINALISTS, SCREENING
from thalweg.doctor._trial import Plan, train

NUM_SEEDS = 3
"""Paired runs of the control, and of every remedy that reaches the final."""

CURVATURE_SHARE = 0.3
"""Of the budget, for the curvature."""

TRIAL_SHARE = 0.55
"""Of the budget, for the trials; the rest is a reserve."""

LENGTHS = (1000, 500, 300, 200, 100, 50, 20, 10)
"""Steps of a trial, so that small differences in speed do not change the plan."""

NUM_EPOCHS = 25
"""No trial is longer than this many passes over the data, or 200 steps."""

EXPECTED_REMEDIES = 8
"""For planning: how many remedies enter a contest, at most."""


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


def plan_curvature(
    budget: Budget, seconds_per_gradient: float, num_parameters: int, num_samples: int
) -> CurvaturePlan | None:
    """The most curvature that its share of the budget buys; None where it buys none.

    A product costs about two gradients. The dense Hessian takes n products, Lanczos at both ends
    about 150, and the density 48 a probe. Where all data are too dear, fewer samples are read.
    """
    products = budget.gradients(CURVATURE_SHARE, seconds_per_gradient) / 2
    if num_parameters <= min(products, 1000):
        return CurvaturePlan(num_parameters, 0, None)
    for share in (1, 2, 4, 8, 16, 32, 64):
        probes = int((products * share - 150) // 48)
        if probes >= 2 and num_samples // share >= 32:
            used = None if share == 1 else num_samples // share
            return CurvaturePlan(0, min(probes, 8), used)
    return None


def plan_trials(
    problem: Problem, batch_size: int, budget: Budget, seed: int
) -> tuple[Plan, Problem]:
    """The length of the trials, and the problem they train on: held-out data set apart.

    Raises:
        BudgetError: if even the shortest trial does not fit.
    """
    training, held_out = _split(problem, torch.Generator().manual_seed(seed))
    plan = Plan(10, batch_size, held_out, problem.reduction)
    fraction = min(1.0, batch_size / problem.num_samples)
    runs = NUM_SEEDS * (1 + NUM_FINALISTS) + EXPECTED_REMEDIES / SCREENING
    longest = max(200, round(NUM_EPOCHS / fraction))
    if budget.is_seconds:
        # The least of three, since other work on the machine can only slow a run down.
        seconds = min(train(training.copied(), plan, seed).seconds for _ in range(3))
        affordable = TRIAL_SHARE * budget.amount / runs / max(seconds / plan.num_steps, 1e-6)
    else:
        affordable = TRIAL_SHARE * budget.amount / runs / fraction
    fitting = [length for length in LENGTHS if length <= min(affordable, longest)]
    if not fitting:
        raise BudgetError(
            f"a budget of {budget} allows trials of {affordable:.1f} steps only, and at least "
            f"{LENGTHS[-1]} are needed; give about {budget.times(LENGTHS[-1] / affordable)}"
        )
    return replace(plan, num_steps=fitting[0]), training


def subset(problem: Problem, size: int, generator: torch.Generator) -> Problem:
    """The problem on `size` samples drawn at random, or on batches of about as many."""
    try:
        pool = concatenate(problem.batches)
    except ValueError:
        order = torch.randperm(len(problem.batches), generator=generator).tolist()
        kept: list[Batch] = []
        for i in order:
            kept.append(problem.batches[i])
            if sum(map(num_samples, kept)) >= size:
                break
        return replace(problem, data=kept)
    index = torch.randperm(num_samples(pool), generator=generator)[:size]
    return replace(problem, data=[take(pool, index)])


def _split(problem: Problem, generator: torch.Generator) -> tuple[Problem, tuple[Batch, ...]]:
    """What to train on, and what to score on."""
    if problem.test_batches:
        return problem, problem.test_batches
    try:
        pool = concatenate(problem.batches)
    except ValueError:
        return _split_batches(problem, generator)
    size = num_samples(pool)
    held = max(1, size // 5)
    if size < 2:
        raise ProblemError("trials need at least two samples; give more data, or test data")
    order = torch.randperm(size, generator=generator)
    training = [take(pool, order[held:])]
    return replace(problem, data=training), (take(pool, order[:held]),)


def _split_batches(
    problem: Problem, generator: torch.Generator
) -> tuple[Problem, tuple[Batch, ...]]:
    batches: Sequence[Batch] = problem.batches
    if len(batches) < 2:
        raise ProblemError(
            "the data are one batch that cannot be divided, so nothing can be held out for the "
            "trials; pass Problem(..., test=...)"
        )
    order = torch.randperm(len(batches), generator=generator).tolist()
    held = max(1, len(batches) // 5)
    held_out = tuple(batches[i] for i in order[:held])
    return replace(problem, data=[batches[i] for i in order[held:]]), held_out
