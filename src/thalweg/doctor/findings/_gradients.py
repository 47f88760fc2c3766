"""Gradients that shrink or grow with every layer on their way back."""

from __future__ import annotations

from math import inf

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import UNTRAINED, Readings
from thalweg.signal import DepthRow, Signal

FACTOR = 1e3
"""Between the ends of the network the gradient must change by this before it is worth naming."""


def vanishing(readings: Readings) -> Finding | None:
    """The gradient shrinks layer by layer towards the input, and the network does not train."""
    signal = readings.signal
    if readings.trains or not signal.gradient or signal.gradient.high >= 1:
        return None
    first, last = signal.rows[0], signal.rows[-1]
    shrinkage = last.gradient_norm / first.gradient_norm if first.gradient_norm else inf
    if shrinkage < FACTOR:
        return None
    starved = [row.name for row in signal.rows if row.gradient_norm * FACTOR < last.gradient_norm]
    return Finding(
        Ailment.VANISHING,
        f"The gradient vanishes: from {last.name!r} back to {first.name!r} it shrinks "
        f"{shrinkage:.1e} times, by {_per_layer(signal)} a layer. Layers "
        f"{starved[0]!r} to {starved[-1]!r} receive less than a thousandth of it.",
        tuple(starved),
        _evidence(signal, first, last),
        "the gradient norm falls by more than 1,000 times from the last layer to the first, its "
        f"trend over depth is a fall at 95 % confidence, and {UNTRAINED}",
        shrinkage / FACTOR,
    )


def exploding(readings: Readings) -> Finding | None:
    """The gradient grows layer by layer towards the input, and the network does not train."""
    signal = readings.signal
    if readings.trains or not signal.gradient or signal.gradient.low <= 1:
        return None
    first, last = signal.rows[0], signal.rows[-1]
    growth = first.gradient_norm / last.gradient_norm if last.gradient_norm else inf
    if growth < FACTOR:
        return None
    flooded = [row.name for row in signal.rows if row.gradient_norm > FACTOR * last.gradient_norm]
    return Finding(
        Ailment.EXPLODING,
        f"The gradient explodes: from {last.name!r} back to {first.name!r} it grows {growth:.1e} "
        f"times, by {_per_layer(signal)} a layer.",
        tuple(flooded),
        _evidence(signal, first, last),
        "the gradient norm grows by more than 1,000 times from the last layer to the first, its "
        f"trend over depth is a growth at 95 % confidence, and {UNTRAINED}",
        growth / FACTOR,
    )


def _per_layer(signal: Signal) -> str:
    assert signal.gradient is not None, "the rules ask for a trend first"
    measured = f"a factor of {signal.gradient.factor:.3g}"
    if signal.predicted_factor is None:
        return measured
    return f"{measured} (mean-field theory predicts {signal.predicted_factor:.3g})"


def _evidence(signal: Signal, first: DepthRow, last: DepthRow) -> dict[str, float]:
    assert signal.gradient is not None, "the rules ask for a trend first"
    evidence = {
        "gradient norm at the first layer": first.gradient_norm,
        "gradient norm at the last layer": last.gradient_norm,
        "factor per layer": signal.gradient.factor,
        "factor per layer, low": signal.gradient.low,
        "factor per layer, high": signal.gradient.high,
    }
    if signal.predicted_factor is not None:
        evidence["factor per layer, predicted"] = signal.predicted_factor
    if signal.theory is not None:
        evidence["depth scale, predicted (layers)"] = signal.theory.depth_scale
    return evidence
