"""Training that ends in NaN or infinity."""

from __future__ import annotations

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings


def not_finite(readings: Readings) -> Finding | None:
    """The training broke down; names the step and the layer of birth."""
    failures = [run.failure for run in readings.control if run.failure]
    steps = [run.num_steps for run in readings.control if run.failure]
    if readings.watched.failure and readings.watched.error is None:
        failures.insert(0, readings.watched.failure)
        steps.append(readings.watched.num_steps)
    if not failures:
        return None
    runs = len(readings.control) + 1
    return Finding(
        Ailment.NOT_FINITE,
        f"Training breaks down in {len(failures)} of {runs} runs: {failures[0]}.",
        (),
        {
            "runs broken": float(len(failures)),
            "runs": float(runs),
            "first step with a loss that is not finite": float(min(steps)),
        },
        "the training loss becomes NaN or infinite in at least one run of the network as it is",
        float(len(failures)),
        min(steps),
    )
