"""Networks that stay where they are: at a saddle, on a plateau, or at a constant answer."""

from __future__ import annotations

from thalweg.curvature import Verdict
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings

MOVED = 0.1
"""A network is stuck if no control run lowers the loss by more than this share."""


def stuck(readings: Readings) -> Finding | None:
    """The loss does not move, at a value that a constant answer also gets, or at a saddle."""
    constant = readings.constant_loss
    is_no_better = constant is not None and readings.passed.value > (1 - MOVED) * constant
    is_held = readings.card is not None and readings.card.verdict in (
        Verdict.SADDLE,
        Verdict.PLATEAU,
    )
    lowest = min(run.last_loss for run in readings.control)
    if readings.fit < 1 - MOVED or not (is_no_better or (constant is None and is_held)):
        return None
    if lowest == float("inf"):
        return None
    place = f" The point is a {readings.card.headline}." if readings.card and is_held else ""
    compared = (
        f", which is what a constant answer gets ({constant:.4g})" if constant is not None else ""
    )
    evidence = {
        "loss at the point": readings.passed.value,
        "training loss at the end, best seed": lowest,
    }
    if constant is not None:
        evidence["loss of the best constant answer"] = constant
    return Finding(
        Ailment.STUCK,
        f"The training is stuck: after {readings.plan.num_steps} steps the loss is "
        f"{lowest:.4g}{compared}.{place}",
        (),
        evidence,
        f"the control runs lower the loss by less than {MOVED:.0%} from the better of its start "
        f"and a constant answer, and the start is no better than a constant answer (or, where "
        f"that is not known, a saddle or plateau)",
        max(readings.fit, 1.0),
    )
