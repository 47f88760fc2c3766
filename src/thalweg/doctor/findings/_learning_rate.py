"""Learning rates too large or too small for the curvature."""

from __future__ import annotations

from math import isfinite
from statistics import median

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import UNTRAINED, Readings

RISE = 0.1
"""The loss rises if it ends above its start by this share of the start, or of a blind answer's
loss where that is higher: noise around a minimum is no rise."""

PATIENCE = 500
"""Steps an e-fold may take along the sharpest direction, however short the trials are."""


def lr_too_large(readings: Readings) -> Finding | None:
    """The step overshoots along the sharpest direction, and the loss rises or breaks down.

    Or it falls back to where it began, and no lower: an overshoot may end on a plateau.
    """
    stability = readings.card.stability if readings.card else None
    if stability is None or stability.ratio <= 1:
        return None
    start, end = readings.passed.value, readings.end
    peak = median(run.peak for run in readings.control)
    blind = readings.blind_loss
    height = start + RISE * max(abs(start), blind or 0.0)
    learns_nothing = end > (1 - RISE) * (start if blind is None else blind)
    if end <= height and not (peak > height and learns_nothing):
        return None
    ending = f"rises to {peak:.3g} and ends at {end:.3g}" if isfinite(end) else "breaks down"
    return Finding(
        Ailment.LR_TOO_LARGE,
        f"The learning rate {stability.rule.lr:g} is {stability.ratio:.3g} times too large for the "
        f"curvature: sharpness {stability.sharpness:.3g} against a limit of "
        f"{stability.rule.limit:.3g} for {stability.rule.name}. Trained as it is, the loss "
        f"starts at {start:.3g}, then {ending}.",
        (),
        {
            "sharpness": stability.sharpness,
            "stability limit": stability.rule.limit,
            "loss at the point": start,
            "highest training loss, median over seeds": peak,
            "training loss at the end, median over seeds": end,
        },
        f"the sharpness is above the optimizer's stability limit, and the training loss ends "
        f"{RISE:.0%} above where it began at least, or rises so far and ends no better than an "
        f"answer that ignores the input (a run above the limit that converges is no finding)",
        stability.ratio,
    )


def lr_too_small(readings: Readings) -> Finding | None:
    """Along the sharpest direction, the fastest of all, the trial is too short to get anywhere."""
    stability = readings.card.stability if readings.card else None
    if readings.trains or stability is None or stability.sharpness <= 0:
        return None
    # Far below its limit a step follows gradient flow: the error falls like e^(−pace λ t).
    steps = 1 / (stability.rule.pace * stability.sharpness)
    most = max(2 * readings.plan.num_steps, PATIENCE)
    if steps <= most:
        return None
    rule = stability.rule
    return Finding(
        Ailment.LR_TOO_SMALL,
        f"The learning rate {rule.lr:g} is too small for the curvature: even along the sharpest "
        f"direction {rule.name} needs about {steps:.2g} steps to bring the error down by e, and "
        f"it is {1 / stability.ratio:.2g} times below its stability limit.",
        (),
        {
            "sharpness": stability.sharpness,
            "stability limit": rule.limit,
            "steps per e-fold along the sharpest direction": steps,
            "steps of the trial": readings.plan.num_steps,
        },
        f"one e-fold along the sharpest direction takes more than {PATIENCE} steps and more than "
        f"twice the steps of the trial, and {UNTRAINED}",
        steps / most,
    )
