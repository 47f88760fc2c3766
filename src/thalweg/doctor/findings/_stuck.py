"""Networks that stay where they are: at a saddle, on a plateau, or at a constant answer."""

from __future__ import annotations

from thalweg.curvature import Verdict
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings

MOVED = 0.1
"""A loss does not move while it stays within this share of where it was."""


def stuck(readings: Readings) -> Finding | None:
    """The loss does not move, at a value that a constant answer also gets, or at a saddle."""
    start, blind = readings.passed.value, readings.blind_loss
    ends = [run.last_loss for run in readings.control]
    levels = [start] if blind is None else [start, blind]
    moved = max(min(_change(level, end) for level in levels) for end in ends)
    is_held = readings.card is not None and readings.card.verdict in (
        Verdict.SADDLE,
        Verdict.PLATEAU,
    )
    is_blind = is_held if blind is None else start > (1 - MOVED) * blind
    if moved > MOVED or not is_blind:
        return None
    place = f" The point is a {readings.card.headline}." if readings.card and is_held else ""
    known = "" if blind is None else f", and {blind:.4g} is what {_described(readings)}"
    evidence = {"loss at the point": start, "training loss at the end, best seed": min(ends)}
    if blind is not None:
        evidence[f"loss that {_described(readings)}"] = blind
    return Finding(
        Ailment.STUCK,
        f"The training is stuck: it begins at {start:.4g}, after {readings.plan.num_steps} steps "
        f"the loss is {min(ends):.4g} at best{known}.{place}",
        (),
        evidence,
        f"no control run ends further than {MOVED:.0%} from where it began or from an answer that "
        f"ignores the input, and the start is no better than such an answer (or, where that is not "
        f"known, a saddle or plateau)",
        MOVED / max(moved, MOVED / 1000),
    )


def _change(level: float, end: float) -> float:
    """|end − level| as a share of the level."""
    return abs(end - level) / abs(level) if level else float(end != level)


def _described(readings: Readings) -> str:
    if readings.constant_loss is None:
        return "the same answers get for shuffled targets"
    return "the best constant answer gets"
