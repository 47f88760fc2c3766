"""Units that no longer answer: saturated ones, and ones that are dead on the whole data."""

from __future__ import annotations

from collections.abc import Callable

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import UNTRAINED, Readings
from thalweg.signal import DepthRow, Signal

BOUNDED = frozenset({"sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign"})
"""Activations that saturate at both ends."""

SHARE = 0.5
"""Half of a layer's units must have stopped answering."""


def saturated(readings: Readings) -> Finding | None:
    """Half of a bounded layer's slopes are under 1 % of their maximum."""
    found = _worst(readings, lambda row: row.saturated if row.activation in BOUNDED else 0.0)
    if found is None:
        return None
    rows, when, share = found
    names = tuple(row.name for row in rows)
    return Finding(
        Ailment.SATURATED,
        f"Units are saturated {when}: after {_listed(names)} up to {share:.0%} of the "
        f"{rows[0].activation} slopes are below 1 % of their maximum, so hardly any gradient "
        f"passes.",
        names,
        {f"saturated after {row.name}": row.saturated for row in rows},
        f"more than {SHARE:.0%} of the slopes of a layer are below 1 % of the activation's "
        f"steepest, and {UNTRAINED}",
        share / SHARE,
    )


def dead(readings: Readings) -> Finding | None:
    """Half of a rectified layer's units are off on every sample."""
    found = _worst(readings, lambda row: 0.0 if row.activation in BOUNDED else row.dead)
    if found is None:
        return None
    rows, when, share = found
    names = tuple(row.name for row in rows)
    return Finding(
        Ailment.DEAD,
        f"Units are dead {when}: after {_listed(names)} up to {share:.0%} of the "
        f"{rows[0].activation} units are off on every one of the {readings.passed.num_samples:,} "
        f"samples, and cannot come back by gradient.",
        names,
        {f"dead after {row.name}": row.dead for row in rows},
        f"more than {SHARE:.0%} of the units of a layer have no slope on any sample, and "
        f"{UNTRAINED}",
        share / SHARE,
    )


def _worst(
    readings: Readings, share: Callable[[DepthRow], float]
) -> tuple[list[DepthRow], str, float] | None:
    """The layers past the rule, at the point or else after the control run."""
    if readings.trains:
        return None
    places: list[tuple[Signal | None, str]] = [
        (readings.signal, "at this point"),
        (readings.signal_after, f"after {readings.num_seen} steps of training"),
    ]
    for signal, when in places:
        rows = [row for row in signal.rows if share(row) > SHARE] if signal else []
        if rows:
            return rows, when, max(map(share, rows))
    return None


def _listed(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"layer {names[0]!r}"
    return f"{len(names)} layers, {names[0]!r} to {names[-1]!r},"
