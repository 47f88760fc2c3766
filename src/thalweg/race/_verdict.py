"""Verdict: which optimizer to take, with the evidence and what it leaves open."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, inf, isfinite, log, sqrt
from statistics import fmean, median, stdev

from scipy import stats

from thalweg._budget import Budget
from thalweg.race._comparison import Duel, Entry, Recommendation

RISK = 0.05
"""Of calling any difference more than chance that is not, over all rivals (Bonferroni)."""

ALL_OR_NONE = 3
"""Seeds on all of which one arrives and the other on none, from which that is more than chance:
Fisher's exact test gives 1/20 for three against three."""

ALIKE = 1.05
"""Factors below this are the resolution of a run's readings, and no difference."""


def costs(entry: Entry, target: float | None, budget: Budget) -> list[float]:
    """What counts of each seed, the less the better: cost to the target, or the final loss."""
    if target is None:
        return [trial.final_loss for trial in entry.trials]
    marks = [trial.reached(target) for trial in entry.trials]
    return [inf if mark is None else mark.spent(budget.is_seconds) for mark in marks]


def ranked(entries: Sequence[Entry], target: float | None, budget: Budget) -> list[Entry]:
    """The entries, the best first: by how many seeds arrive, then by the median of what counts.

    Where none arrives at the target, by the final loss.
    """

    def rank(entry: Entry) -> tuple[int, float, float]:
        found = costs(entry, target, budget)
        arrived = [cost for cost in found if isfinite(cost)]
        return (-len(arrived), median(arrived) if arrived else inf, entry.final_loss)

    return sorted(entries, key=rank)


def recommended(
    entries: Sequence[Entry], target: float | None, budget: Budget, precision: float
) -> Recommendation:
    """The first of ranked entries against each of the others.

    Args:
        entries: as `ranked` returns them.
        target: a training loss, None for none.
        budget: of a run.
        precision: ε of the model's numbers: losses below this share of the one that a run began
            with are alike.
    """
    unit = "seconds" if budget.is_seconds else "gradients"
    entries = [entry for entry in entries if entry.trials]
    if target is not None and not any(entry.reached(target) for entry in entries):
        found = recommended(entries, None, budget, precision)
        doubt = f"Nothing reached the target of {target:g} within {budget}. {found.doubt}".strip()
        return Recommendation(found.name, found.criterion, found.duels, found.sentence, doubt)
    if target is None:
        criterion = f"training loss after {budget}"
    else:
        criterion = f"{unit} to a training loss of {target:g}"
    if not entries or not any(isfinite(c) for c in costs(entries[0], target, budget)):
        return Recommendation(
            "", criterion, (), "No optimizer can be recommended: every run broke down.",
            "Give smaller learning rates, or look at the problem with thalweg examine.",
        )  # fmt: skip
    best, rivals = entries[0], entries[1:]
    if target is None and not any(t.final_loss < t.marks[0].loss for t in best.trials):
        return Recommendation(
            "", criterion, (), "No optimizer can be recommended: none lowered the loss.",
            "Give more budget, or smaller learning rates, or look with thalweg examine.",
        )  # fmt: skip
    own = costs(best, target, budget)
    duels = tuple(_duel(best, rival, target, budget, precision, len(rivals)) for rival in rivals)
    return Recommendation(
        best.name,
        criterion,
        duels,
        _sentence(best, own, duels, target, budget),
        _doubt(best, duels),
    )


def _duel(
    best: Entry,
    rival: Entry,
    target: float | None,
    budget: Budget,
    precision: float,
    num_rivals: int,
) -> Duel:
    """Seed by seed, on logarithms: what differs between seeds differs for both.

    A run that does not arrive counts as if it did just after the budget, one that breaks down as
    if it had stayed where it began: how far a run diverges is chance, and would pass for doubt.
    """
    pairs = list(
        zip(
            _bounded(best, target, budget, precision),
            _bounded(rival, target, budget, precision),
            strict=False,
        )
    )
    is_bound = not all(isfinite(cost) for cost in costs(rival, target, budget))
    logs = [log(theirs / mine) for mine, theirs in pairs]
    mean = fmean(logs)
    is_absent = not any(isfinite(cost) for cost in costs(rival, target, budget))
    if is_absent and len(logs) >= ALL_OR_NONE and all(map(isfinite, costs(best, target, budget))):
        return Duel(rival.name, exp(mean), exp(min(logs)), True, is_bound)
    if len(logs) < 2:
        return Duel(rival.name, exp(mean), 0.0, False, is_bound)
    error = stdev(logs) / sqrt(len(logs))
    low = mean - float(stats.t.ppf(1 - RISK / num_rivals, len(logs) - 1)) * error
    return Duel(rival.name, exp(mean), exp(low), low > 0 and mean > log(ALIKE), is_bound)


def _bounded(entry: Entry, target: float | None, budget: Budget, precision: float) -> list[float]:
    """What counts of each seed, from below where a run did not arrive."""
    found = zip(costs(entry, target, budget), entry.trials, strict=True)
    return [
        max(cost, precision * abs(trial.marks[0].loss), 1e-300)
        if isfinite(cost)
        else (abs(trial.marks[0].loss) if target is None else budget.amount)
        for cost, trial in found
    ]


def _sentence(
    best: Entry, own: Sequence[float], duels: Sequence[Duel], target: float | None, budget: Budget
) -> str:
    arrived = [cost for cost in own if isfinite(cost)]
    unit = "s" if budget.is_seconds else " gradients"
    setting = ", ".join(f"{name} {_plain(value)}" for name, value in best.setting.items())
    with_setting = f" ({setting})" if setting else ""
    if target is None:
        did = f"its training loss after {budget} is {median(arrived):.3g}"
    else:
        space = " " if budget.is_seconds else ""
        did = (
            f"it reaches a training loss of {target:g} in {median(arrived):.3g}{space}{unit}, on "
            f"{len(arrived)} of {len(own)} seeds"
        )
    if not duels:
        return f"{best.name}{with_setting} ran alone: {did}."
    return f"Take {best.name}{with_setting}: {did}{_against(duels[0], target)}."


def _against(duel: Duel, target: float | None) -> str:
    if duel.factor < ALIKE and not duel.is_bound:
        return f", about as with {duel.rival}, the next best"
    least = "at least " if duel.is_bound else ""
    if target is None:
        return f", {least}{duel.factor:.3g} times lower than that of {duel.rival}, the next best"
    return f"; {duel.rival}, the next best, needs {least}{duel.factor:.3g} times as much"


def _doubt(best: Entry, duels: Sequence[Duel]) -> str:
    num_seeds = len(best.trials)
    if not duels:
        return "Nothing was compared with it."
    if num_seeds < 2:
        return "One seed proves nothing; give --seeds 3 or more."
    alike = [duel.rival for duel in duels if not duel.is_proved]
    if not alike:
        return (
            f"That it is ahead of every other is more than chance: by a paired t test over "
            f"{num_seeds} seeds at 95 % for all rivals together, or because it arrives on every "
            f"seed and the other on none."
        )
    few = f"; {num_seeds} seeds are few" if num_seeds < 5 else ""
    return (
        f"Over {num_seeds} seeds it is not told apart from {_listed(alike)} by more than "
        f"chance{few}."
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
