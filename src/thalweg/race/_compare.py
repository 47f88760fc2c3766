"""compare: optimizers on one problem, each at the same budget, and which to take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from math import isfinite

import torch

from thalweg._batch import num_samples
from thalweg._budget import Budget
from thalweg._errors import ThalwegError
from thalweg._machine import machine_of
from thalweg._omission import Omission
from thalweg._problem import Problem
from thalweg._progress import Progress
from thalweg._training import num_threads, threads
from thalweg.race._comparison import Comparison, Entry
from thalweg.race._course import Terms
from thalweg.race._run import run
from thalweg.race._start import ProblemFactory, Start, Starts
from thalweg.race._trial import Setting, Trial
from thalweg.race._verdict import ranked, recommended
from thalweg.race.contenders import Contender, contenders
from thalweg.report import Interrupted

MAX_SEED = 2**32 - 1
"""Every generator takes seeds up to here."""

WARM_UP = 2
"""Steps that are taken before the clock counts: torch loads parts of itself in the first ones."""


class InterruptedComparison(Interrupted):
    """Ctrl-C during a race, with what there was by then.

    Args:
        found: of the runs that were finished; it says that it is partial.
    """

    found: Comparison


def compare(
    problem: Problem | ProblemFactory,
    optimizers: Iterable[str] | Mapping[str, Contender] = ("adam", "sgd", "lbfgs"),
    *,
    budget: Budget | str = "10s",
    seeds: int = 3,
    trials: int = 5,
    batch_size: int | None = None,
    target: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Comparison:
    """Runs optimizers on one problem at equal budget, and says which to take, and how surely.

    Of each optimizer the same number of settings is tried on one seed, all at the full budget; the
    best setting is frozen and run on the seeds that count. Every run of a seed starts at the same
    parameters and sees the data in the same order. Losses and scores are read outside of the
    clock, and in evaluation mode. A run that diverges or raises is a result. Nothing of the
    caller's is changed.

    Args:
        problem: model, loss and data; or a factory that takes a seed and returns them, so that
            seeds vary the initialisation.
        optimizers: names, see `thalweg.race.SHELF`, or contenders by any name.
        budget: of every single run, in seconds ("30s", "2m") or gradients ("2000g"); a gradient is
            one pass over all training data, forward and backward. In gradients a seed repeats
            exactly.
        seeds: runs that count of each optimizer.
        trials: settings tried of each.
        batch_size: samples a step; the problem's own, or all, where left out. Line searches and
            trust regions of other libraries take all data whatever it is.
        target: a training loss; time to it decides where it is given, else the final loss.
        seed: of the tuning and of what is set apart; the runs that count have the seeds after it.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        The comparison, the recommended optimizer first.

    Raises:
        ProblemError: if the problem cannot be read; see `Problem.check`.
        BudgetError: if the budget cannot be read.
        ThalwegError: if a name is unknown, nothing can be entered, or a number is out of range.
        InterruptedComparison: on Ctrl-C, once some runs that count are finished.

    Cost:
        (trials + seeds) times the budget for each optimizer, and the readings: a forward pass of
        the training and held-out data each time a run's cost has grown by 5 %.

    Example:
        >>> import torch, thalweg
        >>> x = torch.linspace(-1, 1, 30, dtype=torch.float64).unsqueeze(1)
        >>> model = torch.nn.Linear(1, 1, dtype=torch.float64)
        >>> problem = thalweg.Problem(model, torch.nn.functional.mse_loss, (x, 2 * x + 1))
        >>> comparison = compare(
        ...     problem, ("sgd", "lbfgs"), budget="30g", trials=1, target=1e-8
        ... )
        >>> comparison.recommendation.name
        'lbfgs'
    """
    budget = Budget.parse(budget) if isinstance(budget, str) else budget
    _check_numbers(seeds, trials, target, seed, batch_size)
    entered, omissions = _entered(contenders(optimizers), trials)
    starts = Starts(problem, batch_size, seed)
    first = starts.first
    size = starts.batch_size
    terms = Terms(
        budget=budget,
        batch_size=size,
        target=target,
        num_threads=num_threads(first, min(size or first.num_samples, first.num_samples)),
    )
    race = _Race(entered, starts, terms, seed, trials, seeds, progress or (lambda *_: None))
    is_partial = False
    try:
        race.run()
    except KeyboardInterrupt:
        if not any(race.trials.values()):
            raise
        is_partial = True
    entries = ranked(race.entries, target, budget)
    dtype = next(iter(first.parameters.values())).dtype
    with threads(terms.num_threads):
        machine = machine_of(next(iter(first.parameters.values())))
    start = race.start
    comparison = Comparison(
        title=first.name or type(first.model).__name__,
        num_parameters=sum(p.numel() for p in first.parameters.values()),
        num_samples=start.problem.num_samples,
        num_measured=start.judge.num_measured,
        num_held_out=sum(map(num_samples, start.judge.held_out)),
        batch_size=None if size is None or size >= start.problem.num_samples else size,
        budget=budget,
        target=target,
        entries=tuple(entries),
        recommendation=recommended(entries, target, budget, torch.finfo(dtype).eps),
        omissions=tuple(omissions),
        assumptions=_assumptions(starts),
        seed=seed,
        num_seeds=seeds,
        num_trials=trials,
        is_partial=is_partial,
        machine=machine,
    )
    if is_partial:
        raise InterruptedComparison(comparison)
    race.progress("done", 1.0)
    return comparison


class _Race:
    """All runs of a comparison in their order: tuning, then seed by seed."""

    def __init__(
        self,
        entered: Mapping[str, Contender],
        starts: Starts,
        terms: Terms,
        seed: int,
        num_trials: int,
        num_seeds: int,
        progress: Progress,
    ) -> None:
        self.entered = entered
        self.starts = starts
        self.terms = terms
        self.seed = seed
        self.num_trials = num_trials
        self.num_seeds = num_seeds
        self.progress = progress
        self.start = starts.of(seed)
        self.tuning: dict[str, list[Trial]] = {name: [] for name in entered}
        self.trials: dict[str, list[Trial]] = {name: [] for name in entered}
        self._done = 0

    @property
    def entries(self) -> list[Entry]:
        """What there is so far."""
        return [
            Entry(
                name=name,
                said=contender.said,
                note=contender.note,
                tuning=tuple(self.tuning[name]),
                setting=self._best(name),
                trials=tuple(self.trials[name]),
            )
            for name, contender in self.entered.items()
        ]

    def run(self) -> None:
        """All of them."""
        self._warm_up()
        for name, contender in self.entered.items():
            for setting in contender.settings[: self.num_trials]:
                self._tell(f"tuning {name}")
                trial = run(
                    contender, setting, self.start.problem, self.start.judge, self.terms, self.seed
                )
                self.tuning[name].append(trial)
        for number in range(1, self.num_seeds + 1):
            start = self.starts.of(self.seed + number)
            for name, contender in self.entered.items():
                self._tell(f"{name}, seed {number} of {self.num_seeds}")
                self.trials[name].append(self._counting(name, contender, start, number))

    def _counting(self, name: str, contender: Contender, start: Start, number: int) -> Trial:
        return run(
            contender,
            self._best(name),
            start.problem,
            start.judge,
            self.terms,
            self.seed + number,
            is_watched=number == 1,
        )

    def _best(self, name: str) -> Setting:
        """The setting that reached the target soonest, or ended lowest, in the tuning."""
        target, is_seconds = self.terms.target, self.terms.budget.is_seconds

        def rank(trial: Trial) -> tuple[float, float]:
            mark = None if target is None else trial.reached(target)
            return (float("inf") if mark is None else mark.spent(is_seconds), trial.final_loss)

        tried = self.tuning[name]
        return min(tried, key=rank).setting if tried else self.entered[name].settings[0]

    def _warm_up(self) -> None:
        """A few steps of each that nobody counts."""
        if not self.terms.budget.is_seconds:
            return
        short = replace(self.terms, max_steps=WARM_UP)
        for name, contender in self.entered.items():
            self.progress(f"warming {name} up", 0.0)
            start = self.start
            run(contender, contender.settings[0], start.problem, start.judge, short, self.seed)

    def _tell(self, what: str) -> None:
        total = len(self.entered) * (self.num_trials + self.num_seeds)
        self.progress(what, self._done / total)
        self._done += 1


def _entered(
    named: Mapping[str, Contender], trials: int
) -> tuple[dict[str, Contender], list[Omission]]:
    """Those that can run here; the others with the reason.

    Raises:
        ThalwegError: if none can, or one has fewer settings than are to be tried.
    """
    omissions = [Omission(name, each.missing) for name, each in named.items() if each.missing]
    entered = {name: each for name, each in named.items() if not each.missing}
    if not entered:
        first = omissions[0]
        raise ThalwegError(f"{first.name} cannot be entered: {first.reason}")
    for name, each in entered.items():
        if len(each.settings) < trials:
            raise ThalwegError(
                f"{name} has {len(each.settings)} settings and {trials} are to be tried of every "
                f"optimizer; give trials={len(each.settings)}, or a contender with more settings"
            )
    return entered, omissions


def _check_numbers(
    seeds: int, trials: int, target: float | None, seed: int, batch_size: int | None
) -> None:
    if seeds < 1:
        raise ThalwegError(f"seeds={seeds}; give a whole number of 1 or more")
    if trials < 1:
        raise ThalwegError(f"trials={trials}; give a whole number of 1 or more")
    if target is not None and not isfinite(target):
        raise ThalwegError(f"target={target}; give a training loss to reach, or leave it out")
    if not 0 <= seed <= MAX_SEED - seeds:
        raise ThalwegError(f"seed={seed}; give a whole number from 0 to {MAX_SEED - seeds}")
    if batch_size is not None and batch_size < 1:
        raise ThalwegError(f"batch_size={batch_size}; give a whole number of 1 or more")


def _assumptions(starts: Starts) -> tuple[str, ...]:
    said = [starts.said]
    if starts.first.test is None:
        said.append(
            "No held-out data were given, so a fifth of the data was set apart and not trained on."
        )
    return tuple(said)
