"""Cases: a recipe that is checked to train, and a fault whose harm is checked to be real."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from statistics import fmean, stdev

from scipy import stats

from benchmarks.faults.healthy import healthy
from benchmarks.faults.kinds import KINDS
from benchmarks.faults.recipe import Recipe, built
from benchmarks.faults.tasks import task
from benchmarks.faults.training import trained

HEALTHY = "healthy"

SEEDS_PER_KIND, NUM_HEALTHY = 30, 200

NUM_RUNS = 3
"""Paired runs by which harm and repair are judged."""

HARM = 5.0
"""Points that a fault must cost."""

MAX_DRAWS, FAULTS_A_TWIN = 60, 5


@dataclass(frozen=True)
class Case:
    """One training of the suite.

    Args:
        kind: of `KINDS`, or "healthy".
        seed: its number within the kind.
        flavour: of a healthy one; what the fault changed, of a broken one.
        recipe: what is examined.
        twin: the healthy recipe.
        twin_points: of its runs.
        points: of the runs of what is examined.
        twins_drawn: recipes until one trained.
        faults_drawn: faults until one did harm.
    """

    kind: str
    seed: int
    flavour: str
    recipe: Recipe
    twin: Recipe
    twin_points: tuple[float, ...]
    points: tuple[float, ...]
    twins_drawn: int
    faults_drawn: int


def is_sealed(seed: int) -> bool:
    """Odd seeds are never looked at while rules or remedies are tuned."""
    return bool(seed % 2)


def numbered(kind: str, half: str) -> list[int]:
    """The seeds of a kind in "tuning", "sealed" or "both"."""
    seeds = range(NUM_HEALTHY if kind == HEALTHY else SEEDS_PER_KIND)
    return [s for s in seeds if half == "both" or is_sealed(s) == (half == "sealed")]


def case(kind: str, seed: int) -> Case:
    """The case of a kind and a seed, by rule: the same everywhere, up to rounding of a training.

    A twin must reach the points of its task in all of its runs. A fault must cost `HARM` points in
    the mean of the paired runs, and more than nothing by a one-sided t test at 95 %; after five
    faults that do not, another twin is drawn.
    """
    if kind == HEALTHY:
        flavour, draw = healthy(seed)
    else:
        flavour, draw = "", KINDS[kind].twin
    random = Random(f"{kind}/{seed}")
    faults_drawn = 0
    for twins_drawn in range(1, MAX_DRAWS + 1):
        twin = draw(random)
        needed = task(twin.task, twin.data_seed).needed
        first = trained(built(twin, 0), 0).points
        if first < needed:
            continue
        sound = (first, *_points(twin, range(1, NUM_RUNS)))
        if min(sound) < needed:
            continue
        if kind == HEALTHY:
            return Case(kind, seed, flavour, twin, twin, sound, sound, twins_drawn, 0)
        for _ in range(FAULTS_A_TWIN):
            faults_drawn += 1
            recipe = KINDS[kind].fault(twin, random)
            first = trained(built(recipe, 0), 0).points
            if sound[0] - first < HARM:
                continue
            points = (first, *_points(recipe, range(1, NUM_RUNS)))
            if fmean(sound) - fmean(points) >= HARM and is_better(sound, points):
                words = ", ".join(f"{k}={v!r}" for k, v in recipe.differs(twin).items())
                return Case(
                    kind, seed, words, recipe, twin, sound, points, twins_drawn, faults_drawn
                )
    raise RuntimeError(f"{kind}, seed {seed}: no draw of {MAX_DRAWS} does harm to a sound twin")


def _points(recipe: Recipe, seeds: range) -> tuple[float, ...]:
    return tuple(trained(built(recipe, seed), seed).points for seed in seeds)


def is_better(points: tuple[float, ...], than: tuple[float, ...]) -> bool:
    """By Student's paired one-sided t test at 95 %."""
    gains = [a - b for a, b in zip(points, than, strict=True)]
    spread = stdev(gains)
    if spread == 0:
        return gains[0] > 0
    t = fmean(gains) / (spread / len(gains) ** 0.5)
    return bool(t > stats.t.ppf(0.95, len(gains) - 1))
