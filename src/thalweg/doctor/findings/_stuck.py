"""Networks that stay where they are: at a saddle, on a plateau, or at a constant answer."""

from __future__ import annotations

from scipy.stats import linregress

from thalweg.curvature import Verdict
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings

MOVED = 0.1
"""A loss does not move while it stays within this share of where it was."""

RECENT = 10
"""Steps, and half of all, by which it is told whether the loss falls."""

FALLS = 3.0
"""Standard errors of a falling slope that are no chance."""

FLAT = 0.9
"""Nestares–Frye's r above which no step of Newton's lowers the gradient."""


def stuck(readings: Readings) -> Finding | None:
    """The loss does not move, at a value that a constant answer also gets, or at a saddle."""
    blind = readings.blind_loss
    start, end = readings.start, readings.end
    if readings.watched.failure or readings.trains or _is_falling(readings):
        return None
    levels = [start] if blind is None else [start, blind]
    moved = min(_change(level, end) for level in levels)
    is_held = readings.card is not None and readings.card.verdict in (
        Verdict.SADDLE,
        Verdict.PLATEAU,
    )
    is_blind = is_held if blind is None else start > (1 - MOVED) * blind
    if moved > MOVED or not is_blind:
        return None
    place = f" The point is a {readings.card.headline}." if readings.card and is_held else ""
    known = "" if blind is None else f", and {blind:.4g} is what {_described(readings)}"
    evidence = {"loss at the point": readings.passed.value, "training loss at the end": end}
    if blind is not None:
        evidence[f"loss that {_described(readings)}"] = blind
    return Finding(
        Ailment.STUCK,
        f"The training is stuck: it begins at {start:.4g}, after {readings.num_seen} steps "
        f"the loss is {end:.4g}{known}.{place}",
        (),
        evidence,
        f"the training ends within {MOVED:.0%} of where it began or of an answer that "
        f"ignores the input, and the start is no better than such an answer (or, where that is not "
        f"known, a saddle or plateau), and the later losses do not fall by more than chance",
        MOVED / max(moved, MOVED / 1000),
        readings.num_seen,
    )


def _is_falling(readings: Readings) -> bool:
    """Whether the later losses fall by more than chance, below what a constant answer gets."""
    late = readings.watched.losses[-max(RECENT, readings.num_seen // 2) :]
    if len(late) < RECENT or (
        readings.blind_loss is not None and readings.end > readings.blind_loss
    ):
        return False
    fit = linregress(range(len(late)), late)
    return bool(fit.slope < -FALLS * fit.stderr)


def gradient_flat(readings: Readings) -> Finding | None:
    """Small gradient, no critical point: the Hessian hardly acts on the gradient."""
    card = readings.card
    if card is None or readings.trains or card.flatness <= FLAT or stuck(readings) is None:
        return None
    return Finding(
        Ailment.GRADIENT_FLAT,
        f"The place is gradient-flat: its gradient of {card.gradient_norm:.3g} lies where the "
        f"Hessian does not act (r = {card.flatness:.3f}), so that no critical point is near and "
        f"second-order steps do not help.",
        (),
        {"gradient norm": card.gradient_norm, "r": card.flatness},
        f"r = ‖Hp + g‖/(‖H‖‖p‖ + ‖g‖) of the inexact Newton step p is above {FLAT:g}, and the "
        f"training is stuck",
        card.flatness / FLAT,
        readings.num_seen,
    )


def _change(level: float, end: float) -> float:
    """|end − level| as a share of the level."""
    return abs(end - level) / abs(level) if level else float(end != level)


def _described(readings: Readings) -> str:
    if readings.constant_loss is None and readings.levels.blind is None:
        return "the same answers get for shuffled targets"
    return "the best constant answer gets"
