"""The paired test by which a remedy is proved, and the units that its runs are compared in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import inf, isfinite, sqrt
from statistics import fmean, stdev

from scipy import stats

from thalweg._score import Score
from thalweg.doctor._examination import Gain
from thalweg.doctor._trial import Run

RISK = 0.05
"""Of calling any remedy proved that does nothing, over all that are compared (Bonferroni)."""

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
    """Control minus remedied held-out loss, seed by seed, with Student's one-sided t.

    The level is 5 % over all remedies that are compared with this control, divided evenly.

    How far a run diverges is chance, and would pass for doubt: a control run counts at most at the
    loss it began with, or that a blind answer gets where that is higher; and where it began far
    above, at twice a blind answer's. So one that breaks down among sound ones proves nothing. A
    remedy that breaks down once is not proved.
    """
    if any(not isfinite(loss) for run in remedied for loss in (*run.along, run.final_loss)):
        return Gain(-inf, -inf, False)
    has_broken = any(not isfinite(before.final_loss) for before in control)
    without = [run.level(_most(run.before.loss, blind_loss)) for run in control]
    differences = [w - after.level() for w, after in zip(without, remedied, strict=True)]
    mean = fmean(differences)
    if len(differences) < 2 or not isfinite(mean):
        return Gain(mean, -inf, False)
    error = stdev(differences) / sqrt(len(differences))
    low = mean - float(stats.t.ppf(1 - RISK / num_compared, len(differences) - 1)) * error
    is_proved = low > 0 and mean > MIN_GAIN * abs(fmean(without))
    return Gain(inf if has_broken and is_proved else mean, low, is_proved)


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
