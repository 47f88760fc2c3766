"""Gradients that shrink or grow with every step back in time of a recurrent layer."""

from __future__ import annotations

from math import inf

import torch

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import UNTRAINED, Readings
from thalweg.doctor.findings._learning_rate import lr_too_large, lr_too_small
from thalweg.signal import TimeSignal

FACTOR = 1e3
"""Between the ends of a sequence the gradient must change by this before it is worth naming."""

ROUNDED = 1 / torch.finfo(torch.float32).eps
"""By this after an epoch already: what comes from so far back is rounded away in the sum over time.

Sound recurrent networks shrink gradients, too, and stay on a plateau for a while. Gated ones do so
with every initialisation that is usual, and open their gates as they learn.
"""

GATED = frozenset({"LSTM", "GRU"})


def vanishing_in_time(readings: Readings) -> Finding | None:
    """The gradient shrinks step by step towards the begin of the sequence, and nothing is learned.

    What is far back is not learned from: a network whose answer needs the last steps only trains.
    """
    return _told(readings, Ailment.VANISHING)


def exploding_in_time(readings: Readings) -> Finding | None:
    """The gradient grows step by step towards the begin of the sequence, and training fails."""
    return _told(readings, Ailment.EXPLODING)


def _told(readings: Readings, ailment: Ailment) -> Finding | None:
    if readings.trains:
        return None
    is_vanishing = ailment is Ailment.VANISHING
    found = {
        s.name: s
        for s in readings.in_time
        if _change(s, is_vanishing) >= _least(s, is_vanishing, readings.is_early)
    }
    if not found:
        return None
    if is_vanishing and (lr_too_large(readings) or lr_too_small(readings)):
        # Sound recurrent networks begin like this too: where another rate alone learns, it is that.
        return None
    worst = max(found.values(), key=lambda s: _change(s, is_vanishing))
    change, trend = _change(worst, is_vanishing), worst.gradient
    by = "" if trend is None else f", by a factor of {trend.factor:.3g} a step"
    far = "to nothing" if trend is None else f"{change:.1e} times"
    does, rule = ("vanishes", "falls") if is_vanishing else ("explodes", "grows")
    way = "shrinks" if is_vanishing else "grows"
    return Finding(
        ailment,
        f"The gradient {does} along time: in {worst.name!r} it {way} {far} from the "
        f"last of {len(worst.steps)} steps back to the first{by}.",
        tuple(found),
        {
            "gradient norm at the first step": worst.steps[0].gradient_norm,
            "gradient norm at the last step": worst.steps[-1].gradient_norm,
        }
        | (
            {}
            if trend is None
            else {
                "factor per step": trend.factor,
                "factor per step, low": trend.low,
                "factor per step, high": trend.high,
            }
        ),
        f"the gradient with respect to the hidden state {rule} more than {FACTOR:g} times from the "
        f"last step in time to the first (that of gated layers, vanishing, {ROUNDED:.0e} times), "
        f"its trend is so at 95 % confidence or it is zero there, {UNTRAINED}"
        + (", and no other learning rate gets far in the same steps" if is_vanishing else ""),
        min(change, 1e300) / FACTOR,
        # That it does not learn is the evidence: this trend alone is that of sound networks, too.
        readings.num_seen if is_vanishing else 0,
        in_time=worst,
    )


def _least(signal: TimeSignal, is_vanishing: bool, is_early: bool) -> float:
    """The change from which on it is worth naming."""
    return ROUNDED if is_vanishing and (is_early or signal.kind in GATED) else FACTOR


def _change(signal: TimeSignal, is_vanishing: bool) -> float:
    """How many times the gradient changes from the last step to the first; 0 without a trend.

    What has shrunk to zero has none, and has changed beyond all measure.
    """
    trend, first, last = signal.gradient, signal.steps[0], signal.steps[-1]
    if is_vanishing and first.gradient_norm == 0 < last.gradient_norm:
        return inf
    if trend is None or not (trend.high < 1 if is_vanishing else trend.low > 1):
        return 0.0
    one, other = first.gradient_norm, last.gradient_norm
    ratio = other / one if one else inf
    return ratio if is_vanishing else (1 / ratio if ratio else inf)
