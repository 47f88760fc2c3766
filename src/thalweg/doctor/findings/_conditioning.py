"""Inputs whose directions differ so much in size that no one learning rate suits all of them."""

from __future__ import annotations

import torch

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import UNTRAINED, Readings

CONDITION = 1e3
"""Largest over median eigenvalue of the inputs' second moments."""

HELPS = 0.2
"""Another learning rate that gains this share of the attainable is the better explanation."""


def ill_conditioned(readings: Readings) -> Finding | None:
    """The step is at its limit along one direction, while the others hardly move."""
    stability = readings.card.stability if readings.card else None
    if readings.trains or readings.watched.failure or stability is None:
        return None
    x = readings.sample.finite_x
    if x.ndim != 2 or not 2 <= x.shape[1] <= 1000 or len(x) < 20:
        return None
    values = torch.linalg.eigvalsh(x.T @ x / len(x))
    values = values[values > 1e-9 * values[-1]]
    condition = float(values[-1] / values.median())
    if condition < CONDITION or stability.ratio < 0.1:
        return None
    if max(readings.slower, readings.faster) > HELPS:
        return None
    return Finding(
        Ailment.ILL_CONDITIONED,
        f"The problem is ill-conditioned: the inputs are {condition:.3g} times larger along one "
        f"direction than along the median one, and the step is at {stability.ratio:.2g} of its "
        f"stability limit there already. Centre, scale or whiten the inputs, or precondition.",
        (),
        {"largest over median eigenvalue of the inputs": condition,
         "sharpness over stability limit": stability.ratio},
        f"the second moments of the inputs differ more than {CONDITION:g} times, the step is "
        f"above a tenth of its limit, neither a larger nor a smaller rate gains {HELPS:.0%}, and "
        f"{UNTRAINED}",
        condition / CONDITION,
        readings.num_seen,
    )  # fmt: skip
