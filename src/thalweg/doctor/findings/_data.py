"""Data that hold NaN or infinity, and let the training see them."""

from __future__ import annotations

from math import isfinite

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings


def data_not_finite(readings: Readings) -> Finding | None:
    """NaN or infinity in inputs or targets reaches the loss; masked ones never do."""
    sample, watched = readings.sample, readings.watched
    inputs, targets = sample.bad_inputs, sample.bad_targets
    # Infinite targets and inputs that a mask leaves out never make a loss that is not finite.
    if not (inputs or targets) or not watched.failure:
        return None
    where = " and ".join(
        f"{share:.2%} of the {name}"
        for name, share in (("inputs", inputs), ("targets", targets))
        if share
    )
    first = watched.num_steps
    return Finding(
        Ailment.DATA_NOT_FINITE,
        f"The data hold NaN or infinity, in {where}, and they reach the loss: {watched.failure}. "
        f"Leave those samples out, or fill them in.",
        (),
        {
            "share of inputs": inputs,
            "share of targets": targets,
            "first step with a loss that is not finite": float(first),
        },
        "some samples hold a number that is not finite, and the training breaks off for a loss "
        "that is not finite (what a mask keeps from the loss is no finding)",
        max(1.0, max(inputs, targets) * sample.num_samples),
        first if isfinite(first) else 0,
    )
