"""The tests by which a remedy is proved, and the units that its runs are compared in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import comb, inf, isfinite, sqrt
from statistics import fmean, stdev

from scipy import stats

from thalweg._score import Score
from thalweg.doctor._examination import Gain
from thalweg.doctor._trial import Run

RISK = 0.05
"""Of calling any remedy proved that does nothing, over all that are compared (Bonferroni)."""

RANKED = (0.5, 1.0)
"""Of the risk, that a test by ranks may take; the second where losses swing, which no pairs share.
"""

FAR = 2.0
"""How far above a blind answer's a control run that diverges may count."""

MIN_GAIN = 0.02
"""A remedy must lower the held-out loss by this share of the control's at least."""


def paired_gain(
    control: Sequence[Run],
    remedied: Sequence[Run],
    blind_loss: float | None = None,
    num_compared: float = 1,
) -> Gain:
    """Control minus remedied held-out loss, seed by seed, and what it is at least.

    That is by Student's one-sided t of the paired differences, or by the ranks of all runs: see
    `least_gain`. The level is 5 % over all remedies that are compared with this control, divided
    evenly.

    How far a run diverges is chance, and would pass for doubt: a control run counts at most at the
    loss it began with, or that a blind answer gets where that is higher; and where it began far
    above, at twice a blind answer's. So one that breaks down among sound ones proves nothing. A
    remedy that breaks down once is not proved.
    """
    if any(not isfinite(loss) for run in remedied for loss in (*run.along, run.final_loss)):
        return Gain(-inf, -inf, False)
    has_broken = any(not isfinite(before.final_loss) for before in control)
    without = [run.level(_most(run.before.loss, blind_loss)) for run in control]
    levels = [run.level() for run in remedied]
    mean = fmean(without) - fmean(levels)
    if len(levels) < 2 or not isfinite(mean):
        return Gain(mean, -inf, False)
    is_swinging = any(run.along for run in control)
    low = least_gain(without, levels, RISK / num_compared, RANKED[is_swinging])
    is_proved = low > 0 and mean > MIN_GAIN * abs(fmean(without))
    return Gain(inf if has_broken and is_proved else mean, low, is_proved)


def least_gain(
    without: Sequence[float], levels: Sequence[float], risk: float, ranked: float
) -> float:
    """Lower end of a one-sided interval for what is gained: the higher of two that share the risk.

    By ranks, the least difference between any run without and any with: where the remedy does
    nothing, all n with it end below all n without in one case of C(2n, n) at most (Wilcoxon 1945;
    the same seeds make it rarer). It asks nothing of how losses are spread, and so stands where the
    runs without swing and those with do not. By Student's t of the paired differences, which takes
    the rest of the risk.

    Args:
        without: losses of the control.
        levels: losses with the remedy.
        risk: that it lies above the true gain, by both together.
        ranked: of it, that ranks may take at most; they take none where they would take more.
    """
    number = len(levels)
    chance = 1 / comb(2 * number, number)
    share = chance if chance <= ranked * risk else 0.0
    apart = min(without) - max(levels) if share else -inf
    if share == risk:
        return apart
    differences = [w - after for w, after in zip(without, levels, strict=True)]
    error = stdev(differences) / sqrt(number)
    t = float(stats.t.ppf(1 - (risk - share), number - 1))
    return max(apart, fmean(differences) - t * error)


def _most(before: float, blind: float | None) -> float:
    """What a control run counts at most, which began at `before`."""
    if blind is None or not blind > 0:
        return max(before, blind or -inf)
    return max(blind, min(before, FAR * blind))


def fits_less(runs: Sequence[Run], control: Sequence[Run]) -> bool:
    """Whether the training loss ends higher than without: less training is no better training."""
    return fmean(run.last_loss for run in runs) > fmean(run.last_loss for run in control)


def in_units(run: Run, unit: float | None) -> Run:
    """A run whose held-out losses are shares of a unit; without one it could not be scored."""
    after = run.final_loss / unit if unit else inf
    before = run.before.loss / unit if unit and isfinite(run.before.loss) else 1.0
    return replace(
        run,
        before=Score(before, run.before.accuracy),
        along=tuple(loss / unit for loss in run.along) if unit else (),
        after=Score(after, run.after.accuracy),
        failure=run.failure if unit else run.failure or "it could not be scored",
    )
