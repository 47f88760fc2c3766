"""Units that no longer answer: saturated ones, and ones that are dead on the whole data."""

from __future__ import annotations

from collections.abc import Callable

from thalweg._loss import Kind
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import UNTRAINED, Readings
from thalweg.doctor.findings._inputs import is_flooded
from thalweg.signal import DepthRow, Signal

BOUNDED = frozenset({"sigmoid", "tanh", "hardtanh", "hardsigmoid", "softsign"})
"""Activations that saturate at both ends."""

NEARLY_ALL = 0.97
"""Share of slopes of a rectified layer: where so many are zero, the few answers are too little."""

SHARE = 0.5
"""Half of a layer's units must have stopped answering."""

SOME = 0.25
"""Of a bounded layer's slopes: weights of a usual size leave none of them flat."""

FLAT = 0.8
"""Of the slopes of every bounded layer: where so many are flat before and after, only what comes
after them was trained, and if it learns less than simple learners do, that is why."""


def saturated(readings: Readings) -> Finding | None:
    """Half of a bounded layer's slopes are under 1 % of their maximum."""
    learns = readings.trains and readings.generalises
    # What huge inputs do is asked by itself where it is not known.
    is_flat_by_inputs = readings.trains_well and is_flooded(readings)
    if is_flat_by_inputs or (learns and not _stay_flat(readings)):
        return None
    answer = _answer(readings) if readings.trains else None

    def flat(row: DepthRow) -> float:
        return row.saturated if row.activation in BOUNDED and row.name != answer else 0.0

    found = _worst(readings, flat)
    if found is None:
        return None
    rows, num_steps, share = found
    names = tuple(row.name for row in rows)
    return Finding(
        Ailment.SATURATED,
        f"Units are saturated {_when(num_steps)}: after {_listed(names)} up to {share:.0%} of the "
        f"{rows[0].activation} slopes are below 1 % of their maximum, so hardly any gradient "
        f"passes.",
        names,
        {f"saturated after {row.name}": row.saturated for row in rows},
        f"more than {SHARE:.0%} of the slopes of a layer are below 1 % of the activation's "
        f"steepest, and {UNTRAINED}, or held-out samples are answered less than 80 % as well as "
        f"can be, or {FLAT:.0%} in every such layer, before as after a training that learns less "
        f"than simple learners do",
        share / SHARE,
        num_steps,
        needs_proof=learns,
    )


def perhaps_saturated(readings: Readings) -> Finding | None:
    """A good part of the slopes of a bounded layer are flat before the training."""
    if readings.is_early or not readings.is_readable or readings.watched.failure:
        return None
    if readings.learned >= 1 and readings.learned_of_held_out >= 1:
        # Flat layers may serve the last one as random features, of which it learns all. What it
        # learns by heart of them says nothing of other samples.
        return None
    answer = _answer(readings)
    rows = [r for r in readings.signal.rows if r.activation in BOUNDED and r.name != answer]
    rows = [row for row in rows if row.saturated > SOME]
    if not rows:
        return None
    names, share = tuple(row.name for row in rows), max(row.saturated for row in rows)
    return Finding(
        Ailment.SATURATED,
        f"Units are saturated at the start: after {_listed(names)} up to {share:.0%} of the "
        f"{rows[0].activation} slopes are below 1 % of their maximum, and with other weights more "
        f"is learned.",
        names,
        {f"saturated after {row.name}": row.saturated for row in rows},
        f"more than {SOME:.0%} of the slopes of a layer are below 1 % of the activation's steepest "
        f"before the training, which learns less than simple learners do, of its data or of "
        f"what was held out, and nothing else is found; it counts only where a remedy is proved",
        share / SOME,
        needs_proof=True,
    )


def _answer(readings: Readings) -> str | None:
    """The layer whose sigmoid is the answer, None where it has none: sure answers are flat, and the
    loss of probabilities is as steep there.
    """
    rows, head = readings.signal.rows, readings.head
    is_one = head.kind is Kind.BINARY and head.final == "sigmoid"
    return rows[-1].name if is_one and rows else None


def _stay_flat(readings: Readings) -> bool:
    """Whether nearly all slopes of bounded layers are flat and stay so, and not all is learned."""
    if readings.is_early or readings.is_frugal or readings.learned >= 1:
        return False
    if not _all_flat(readings.signal):
        return False
    after = readings.signal_after
    return after is not None and _all_flat(after)


def _all_flat(signal: Signal) -> bool:
    shares = [row.saturated for row in signal.rows if row.activation in BOUNDED]
    return bool(shares) and min(shares) > FLAT


def saturated_gates(readings: Readings) -> Finding | None:
    """Half of the slopes of a recurrent layer's gates are under 1 % of their maximum."""
    if readings.trains:
        return None
    flat = {name: share for name, share in readings.gates.items() if share > SHARE}
    if not flat:
        return None
    names = tuple(flat)
    return Finding(
        Ailment.SATURATED,
        f"Gates are saturated at this point: in {_listed(names)} up to {max(flat.values()):.0%} of "
        f"the gates' slopes along the sequence are below 1 % of their maximum, so hardly any "
        f"gradient passes.",
        names,
        {f"saturated in {name}": share for name, share in flat.items()},
        f"more than {SHARE:.0%} of the slopes of a recurrent layer's gates, over samples and "
        f"steps, are below 1 % of their steepest, and {UNTRAINED}",
        max(flat.values()) / SHARE,
    )


def dead(readings: Readings) -> Finding | None:
    """Half of a rectified layer's units are off on every sample."""
    if readings.trains:
        return None
    found = _worst(readings, _silent)
    if found is None:
        return None
    rows, num_steps, share = found
    names = tuple(row.name for row in rows)
    return Finding(
        Ailment.DEAD,
        f"Units are dead {_when(num_steps)}: after {_listed(names)} up to {share:.0%} of the "
        f"{rows[0].activation} units are off on {_how_often(rows)} of the "
        f"{readings.passed.num_samples:,} samples, and hardly come back by gradient.",
        names,
        {f"dead after {row.name}": row.dead for row in rows}
        | {f"zero slopes after {row.name}": row.saturated for row in rows},
        f"more than {SHARE:.0%} of the units of a layer have no slope on any sample, or more than "
        f"{NEARLY_ALL:.0%} of all slopes of a layer are zero, and "
        f"{UNTRAINED}",
        share / SHARE,
        num_steps,
    )


def are_driven_off(readings: Readings) -> bool:
    """Whether half of a layer's units stopped answering in training, of which few had before."""
    before, after = readings.signal, readings.signal_after
    if after is None:
        return False
    was = {row.name: _off(row) for row in before.rows}
    return any(_off(row) > SHARE > 2 * was.get(row.name, 1.0) for row in after.rows)


def _off(row: DepthRow) -> float:
    return row.saturated if row.activation in BOUNDED else _silent(row)


def _silent(row: DepthRow) -> float:
    """Share of units that are dead, or of slopes that are zero where nearly all are."""
    if row.activation in BOUNDED:
        return 0.0
    return row.saturated if row.saturated > NEARLY_ALL else row.dead


def _worst(
    readings: Readings, share: Callable[[DepthRow], float]
) -> tuple[list[DepthRow], int, float] | None:
    """The layers past the rule, at the point or else after the control run."""
    places: tuple[tuple[int, Callable[[], Signal | None]], ...] = (
        (0, lambda: readings.signal),
        (readings.num_seen, lambda: readings.signal_after),
    )
    # What an epoch did to the units is a consequence of what it did.
    for num_steps, signal_of in places[:1] if readings.is_early or readings.is_frugal else places:
        signal = signal_of()
        rows = [row for row in signal.rows if share(row) > SHARE] if signal else []
        if rows:
            return rows, num_steps, max(map(share, rows))
    return None


def _when(num_steps: int) -> str:
    return f"after {num_steps} steps of training" if num_steps else "at this point"


def _how_often(rows: list[DepthRow]) -> str:
    return "every one" if any(row.dead > SHARE for row in rows) else f"{NEARLY_ALL:.0%} and more"


def _listed(names: tuple[str, ...]) -> str:
    if len(names) == 1:
        return f"layer {names[0]!r}"
    return f"{len(names)} layers, {names[0]!r} to {names[-1]!r},"
