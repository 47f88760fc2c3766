"""Laps: tuning on a seed that does not count, then the seeds that do, with the setting frozen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import median

from benchmarks.race.entrants import Entrant
from benchmarks.race.tasks import Task
from thalweg.race import Budget, Trial
from thalweg.race._course import Terms
from thalweg.race._judge import Judge
from thalweg.race._run import run
from thalweg.race._trial import Setting

TUNING_SEED = 1000
"""Far from the seeds that count."""

RESOLUTION = 1.02
"""A run is read each time its cost grew by this factor, and at every step near its target."""

PATIENCE = 1.5
"""A setting that takes so many times the best one so far cannot win, and is stopped."""


@dataclass(frozen=True)
class Arrival:
    """When one seed reached one target; None for never.

    Args:
        seconds: wall time.
        processor_seconds: of this process.
        gradients: work by count.
    """

    seconds: float
    processor_seconds: float
    gradients: float


@dataclass(frozen=True)
class Lap:
    """What an entrant did on a problem.

    Args:
        task: the problem's label.
        name: the entrant's.
        is_ours: whether it is thalweg's.
        num_settings: tried.
        setting: frozen.
        seeds: that count.
        arrivals: for each target, each seed.
        final_losses: of each seed, where the run ended.
        failures: what broke, by seed; "" where nothing did.
    """

    task: str
    name: str
    is_ours: bool
    num_settings: int
    setting: Setting
    seeds: tuple[int, ...]
    arrivals: tuple[tuple[Arrival | None, ...], ...]
    final_losses: tuple[float, ...]
    failures: tuple[str, ...]

    def median(self, target: int) -> float:
        """Median processor seconds to a target over all seeds; inf where half never arrive."""
        times = [float("inf") if a is None else a.processor_seconds for a in self.arrivals[target]]
        return median(times)


def terms_of(task: Task, seconds: float) -> Terms:
    """One thread, all data at each step, until the strictest target."""
    return Terms(
        budget=Budget(seconds, True),
        batch_size=None,
        target=task.targets[-1],
        stops_at_target=True,
        num_threads=1,
        resolution=RESOLUTION,
    )


def laps(
    task: Task,
    racing: Sequence[Entrant],
    seeds: Sequence[int],
    share: float,
    tell: Callable[[str], None],
) -> list[Lap]:
    """All entrants on a problem: each tuned, then seed by seed in turn.

    Args:
        task: the problem.
        racing: who races.
        seeds: that count.
        share: of the task's time that a run may take.
        tell: told what is done.
    """
    limit = share * task.seconds
    settings = {}
    for entrant in racing:
        warm_up(entrant, task)
        settings[entrant.name] = tuned(entrant, task, limit, tell)
    trials: dict[str, list[Trial]] = {entrant.name: [] for entrant in racing}
    for seed in seeds:
        problem = task.make(seed)
        judge = Judge(problem, (), seed)
        for entrant in racing:
            setting = settings[entrant.name]
            trial = run(entrant.contender, setting, problem, judge, terms_of(task, limit), seed)
            trials[entrant.name].append(trial)
            tell(f"{task.name} {entrant.name} seed {seed}: {in_words(trial, task)}")
    return [lap_of(e, task, settings[e.name], seeds, trials[e.name]) for e in racing]


def warm_up(entrant: Entrant, task: Task) -> None:
    """Two steps that nobody counts: libraries load parts of themselves in the first ones."""
    problem = task.make(TUNING_SEED)
    terms = replace(terms_of(task, 60.0), max_steps=2)
    judge = Judge(problem, (), 0)
    run(entrant.contender, entrant.settings[0], problem, judge, terms, TUNING_SEED)


def tuned(entrant: Entrant, task: Task, limit: float, tell: Callable[[str], None]) -> Setting:
    """The setting that gets furthest on the tuning seed: most targets, then soonest, then lowest.

    A single setting needs no tuning.
    """
    if len(entrant.settings) == 1:
        return entrant.settings[0]
    problem = task.make(TUNING_SEED)
    judge = Judge(problem, (), TUNING_SEED)
    best: tuple[tuple[float, float, float], Setting] | None = None
    for setting in entrant.settings:
        # Where the strictest target was reached, a slower setting need not be run to its end.
        is_done = best is not None and best[0][0] == -len(task.targets)
        allowed = min(limit, PATIENCE * best[0][1]) if best is not None and is_done else limit
        terms = terms_of(task, allowed)
        trial = run(entrant.contender, setting, problem, judge, terms, TUNING_SEED)
        reached = [mark for t in task.targets if (mark := trial.reached(t)) is not None]
        rank = (-len(reached), reached[-1].seconds if reached else 0.0, trial.final_loss)
        tell(f"{task.name} {entrant.name} {dict(setting)}: {in_words(trial, task)}")
        if best is None or rank < best[0]:
            best = rank, setting
    assert best is not None
    return best[1]


def lap_of(
    entrant: Entrant, task: Task, setting: Setting, seeds: Sequence[int], trials: Sequence[Trial]
) -> Lap:
    """What the trials of an entrant amount to."""
    return Lap(
        task=task.name,
        name=entrant.name,
        is_ours=entrant.is_ours,
        num_settings=len(entrant.settings),
        setting=dict(setting),
        seeds=tuple(seeds),
        arrivals=tuple(tuple(arrival(t, target) for t in trials) for target in task.targets),
        final_losses=tuple(trial.final_loss for trial in trials),
        failures=tuple(trial.failure for trial in trials),
    )


def arrival(trial: Trial, target: float) -> Arrival | None:
    """When a run reached a target."""
    mark = trial.reached(target)
    return mark and Arrival(mark.seconds, mark.processor_seconds, mark.gradients)


def in_words(trial: Trial, task: Task) -> str:
    """A run in a few words."""
    if trial.failure:
        return trial.failure
    said = [
        f"{target:g} in {mark.processor_seconds:.3g} s"
        for target in task.targets
        if (mark := trial.reached(target)) is not None
    ]
    return ", ".join(said) or f"{trial.final_loss:.3g} after {trial.final.seconds:.3g} s"
