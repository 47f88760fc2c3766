"""Comparison: what came of a race."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from statistics import median

from thalweg._budget import Budget
from thalweg._omission import Omission
from thalweg.race._trial import Mark, Setting, Trial
from thalweg.report import Page, PagedResult


@dataclass(frozen=True)
class Entry:
    """A contender and what became of it.

    Args:
        name: as it was named.
        said: what it is.
        note: what to know of it, "" for nothing.
        tuning: one run for each setting tried, on a seed that does not count.
        setting: the best of them, frozen for the runs that count.
        trials: the runs that count, one a seed.
    """

    name: str
    said: str
    note: str
    tuning: tuple[Trial, ...]
    setting: Setting
    trials: tuple[Trial, ...]

    @property
    def failures(self) -> tuple[Trial, ...]:
        """The runs that broke off."""
        return tuple(trial for trial in self.trials if trial.failure)

    @property
    def final_loss(self) -> float:
        """The median over the seeds of the training loss at the end of the budget."""
        return median([trial.final_loss for trial in self.trials]) if self.trials else inf

    def reached(self, target: float) -> tuple[Mark, ...]:
        """Where each seed reached a training loss; those that did not are left out.

        Args:
            target: the loss.
        """
        found = (trial.reached(target) for trial in self.trials)
        return tuple(mark for mark in found if mark is not None)

    def cost(self, target: float, is_seconds: bool) -> float:
        """The median over all seeds of the cost to a target; inf where it was not reached.

        Args:
            target: a training loss.
            is_seconds: in seconds, else in gradients.
        """
        marks = [trial.reached(target) for trial in self.trials]
        costs = [inf if mark is None else mark.spent(is_seconds) for mark in marks]
        return median(costs) if costs else inf


@dataclass(frozen=True)
class Duel:
    """The recommended optimizer against one rival, seed by seed.

    Args:
        rival: its name.
        factor: how many times more the rival costs, or how many times higher its loss ends, as a
            geometric mean over the seeds.
        low: lower end of the one-sided interval of that by Student's t on logarithms, at 95 % for
            all rivals together; above 1 the difference is more than chance. For a rival that never
            arrives, where the other does on every seed, the least of the seeds' factors.
        is_proved: whether it is.
        is_bound: whether the rival broke down or did not arrive on some seeds, so that the factor
            is larger yet.
    """

    rival: str
    factor: float
    low: float
    is_proved: bool
    is_bound: bool


@dataclass(frozen=True)
class Recommendation:
    """Which optimizer to take, by what evidence.

    Args:
        name: of the optimizer; "" where none can be recommended.
        criterion: what was compared, in words.
        duels: against each rival.
        sentence: the recommendation in a sentence.
        doubt: what it does not settle, in a sentence.
    """

    name: str
    criterion: str
    duels: tuple[Duel, ...]
    sentence: str
    doubt: str

    @property
    def is_proved(self) -> bool:
        """Whether it is ahead of every rival by more than chance."""
        return bool(self.duels) and all(duel.is_proved for duel in self.duels)


@dataclass(frozen=True)
class Comparison(PagedResult):
    """What came of a race.

    Args:
        title: the problem's name.
        num_parameters: trainable ones.
        num_samples: of the training data of a run.
        num_measured: of these, on how many the training loss was read along the way.
        num_held_out: held-out samples that a score was read on.
        batch_size: of a step; None for all data.
        budget: of every single run.
        target: training loss to reach, None for none.
        entries: the contenders, the recommended first, then by what they reached.
        recommendation: which to take.
        omissions: contenders that could not be entered, and why.
        assumptions: what was taken for granted, in sentences.
        seed: of the tuning; the runs that count have the seeds after it.
        num_seeds: runs that count of each contender.
        num_trials: settings tried of each.
        is_partial: whether it was interrupted.
        machine: versions, device, dtype and threads, in words.
    """

    schema = "thalweg/comparison/1"

    title: str
    num_parameters: int
    num_samples: int
    num_measured: int
    num_held_out: int
    batch_size: int | None
    budget: Budget
    target: float | None
    entries: tuple[Entry, ...]
    recommendation: Recommendation
    omissions: tuple[Omission, ...]
    assumptions: tuple[str, ...]
    seed: int
    num_seeds: int
    num_trials: int
    is_partial: bool
    machine: str

    def entry(self, name: str) -> Entry:
        """The entry of that name.

        Args:
            name: of a contender.

        Raises:
            KeyError: if there is none.
        """
        for entry in self.entries:
            if entry.name == name:
                return entry
        raise KeyError(name)

    def page(self) -> Page:
        """The comparison as a page: recommendation first, then curves, tables and doubt."""
        from thalweg.race._page import page_of

        return page_of(self)

    def __str__(self) -> str:
        return f"{self.recommendation.sentence} {self.recommendation.doubt}".strip()
