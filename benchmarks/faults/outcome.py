"""Outcomes: what the doctor says of a case, whether its remedy mends it, and what chance does."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from math import nan
from random import Random
from statistics import fmean
from typing import Any

import torch

from benchmarks.faults.cases import HEALTHY, NUM_RUNS, Case, case, is_better
from benchmarks.faults.kinds import KINDS
from benchmarks.faults.recipe import built
from benchmarks.faults.training import trained
from thalweg import Problem, examine
from thalweg._reduction import Reduction
from thalweg.doctor import Examination
from thalweg.doctor._observation import readable_form
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Plan, made_optimizer
from thalweg.doctor.remedies import Remedy, any_remedy
from thalweg.passes import Pass
from thalweg.signal import Signal

Change = Callable[[Problem, torch.Generator], Problem]

BUDGET = 1.3
"""Of an examination, in trainings: the gradients of all epochs are one."""

NEAR = 3.0
"""Points below its healthy twin that a repaired training may be."""

PARTS = 4
"""Chance tries remedies in trainings of this part of the epochs, one for each part of its budget
after the first, which shows the training as it is."""


Job = tuple[str, int, float, bool]


def done(job: Job) -> dict[str, Any]:
    """A case, in a process of its own."""
    torch.set_num_threads(1)
    kind, seed, budget, has_repair = job
    try:
        return outcome(case(kind, seed), budget, has_repair)
    except RuntimeError as error:
        return {"kind": kind, "seed": seed, "undrawn": str(error)}


def outcome(case: Case, budget: float = BUDGET, has_repair: bool = True) -> dict[str, Any]:
    """Everything the report needs of a case, in plain values."""
    problem = built(case.recipe, 0)
    assert problem.epochs is not None
    told: dict[str, Any] = {
        "kind": case.kind, "seed": case.seed, "flavour": case.flavour,
        "task": case.recipe.task, "family": case.recipe.family,
        "twins_drawn": case.twins_drawn, "faults_drawn": case.faults_drawn,
        "twin_points": case.twin_points, "points": case.points,
        "named": [], "found_after": None, "named_after": None, "suspected": [],
        "proved": None, "error": "",
    }  # fmt: skip
    start = time.perf_counter()
    found = _examined(problem, budget * problem.epochs)
    told["seconds"] = time.perf_counter() - start
    steps_in_epoch = -(-problem.num_samples // case.recipe.batch_size)
    told["steps_in_epoch"] = steps_in_epoch
    if isinstance(found, str):
        told["error"] = found
    else:
        told["named"] = [finding.ailment.name for finding in found.findings]
        told["suspected"] = [each.ailment.name for each in found.suspicions]
        told["sentences"] = [finding.sentence for finding in found.findings]
        told["cost"] = sum(m.gradients for m in found.measurements) / problem.epochs
        told["cost_until_found"] = told["cost"] - sum(
            m.gradients for m in found.measurements if m.name.startswith("remedies")
        ) / (problem.epochs)
        told["tried"] = [f"{r.name}: {r.outcome}" for r in found.remedies]
        if case.kind != HEALTHY:
            names = KINDS[case.kind].names
            right = [f for f in found.findings if f.ailment.name in names]
            if right:
                found_after, suspected_after = right[0].found_after, right[0].suspected_after
                told["found_after"] = found_after
                told["named_after"] = found_after if suspected_after is None else suspected_after
            if found.proved:
                told["proved"] = found.proved[0].name
    if case.kind != HEALTHY and has_repair:
        mended = None
        if not isinstance(found, str) and found.proved:
            mended = found.proved[0].apply
        told["repaired_points"] = _points(case, mended)
        told["is_repaired"] = is_repaired(case, told["repaired_points"])
        chance = _by_chance(case, budget)
        told["by_chance"] = chance.name if chance else None
        told["chance_points"] = _points(case, chance.apply if chance else None)
        told["is_repaired_by_chance"] = is_repaired(case, told["chance_points"])
    return told


def is_repaired(case: Case, points: tuple[float, ...]) -> bool:
    """Better than the broken runs by a paired t test, and near the healthy twin."""
    return is_better(points, case.points) and fmean(points) >= fmean(case.twin_points) - NEAR


def _examined(problem: Problem, gradients: float) -> Examination | str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return examine(problem, budget=f"{gradients:.6g}g")
        except Exception as error:
            return f"{type(error).__name__}: {error}"


def _points(case: Case, change: Change | None) -> tuple[float, ...]:
    """Of whole trainings with a remedy; of the broken ones where there is none."""
    if change is None:
        return case.points
    found = []
    for seed in range(NUM_RUNS):
        generator = torch.Generator().manual_seed(seed)
        try:
            problem = change(built(case.recipe, seed), generator)
        except Exception:
            found.append(case.points[seed])
            continue
        found.append(trained(problem, seed).points)
    return tuple(found)


def _by_chance(case: Case, budget: float) -> Remedy | None:
    """Random repair at equal budget: the best of a few remedies drawn from the whole shelf.

    It is judged by its points on what is held out, which favours it.
    """
    random = Random(f"chance/{case.kind}/{case.seed}")
    remedies = list(any_remedy(_readings(built(case.recipe, 0))))
    random.shuffle(remedies)
    epochs = max(1, case.recipe.epochs // PARTS)
    best, most = None, trained(replace(built(case.recipe, 0), epochs=epochs), 0).points
    for remedy in remedies[: max(1, round(budget * PARTS) - 1)]:
        generator = torch.Generator().manual_seed(0)
        try:
            problem = remedy.apply(built(case.recipe, 0), generator)
            points = trained(replace(problem, epochs=epochs), 0).points
        except Exception:
            continue
        if points > most:
            best, most = remedy, points
    return best


def _readings(problem: Problem) -> Readings:
    """What remedies read, without anything that is found."""
    readable, _ = readable_form(problem)
    passed = Pass.of(readable) if readable else Pass(nan, (), (), problem.num_samples)
    assert problem.batch_size is not None
    reduction = Reduction(lambda batch, _: float(len(batch)), False, "samples")
    plan = Plan(1, problem.batch_size, problem.test_batches, reduction, 1)
    return Readings(
        problem, passed, Signal.of(passed), None, made_optimizer(problem.copied()), (), plan,
        None, None,
    )  # fmt: skip
