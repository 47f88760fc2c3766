"""Training that ends in NaN or infinity."""

from __future__ import annotations

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings


def not_finite(readings: Readings) -> Finding | None:
    """Some control run broke down; names the step and the layer of birth."""
    broken = [run for run in readings.control if run.failure]
    if not broken:
        return None
    return Finding(
        Ailment.NOT_FINITE,
        f"Training breaks down in {len(broken)} of {len(readings.control)} runs: "
        f"{broken[0].failure}.",
        (),
        {
            "runs broken": float(len(broken)),
            "runs": float(len(readings.control)),
            "first step with a loss that is not finite": float(
                min(run.num_steps for run in broken)
            ),
        },
        "the training loss becomes NaN or infinite in at least one run of the network as it is",
        float(len(broken)),
    )
