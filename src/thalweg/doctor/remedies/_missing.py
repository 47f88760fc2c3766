"""Samples with NaN or infinity left out."""

from __future__ import annotations

from thalweg.doctor._changed_data import is_finite, with_rows
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy


def dropped_rows(readings: Readings) -> Remedy | NotApplicable:
    """Trains on the samples in which every number is finite."""
    name = "samples with NaN or infinity left out"
    keeps = [is_finite(batch) for batch in readings.problem.batches]
    if all(bool(keep.all()) for keep in keeps):
        return NotApplicable(name, "every number of the data is finite")
    if not any(bool(keep.any()) for keep in keeps):
        return NotApplicable(name, "no sample would be left")
    return Remedy(
        name,
        "keep = x.flatten(1).isfinite().all(1) & y.flatten(1 if y.ndim > 1 else 0).isfinite()"
        ".reshape(len(y), -1).all(1)\nx, y = x[keep], y[keep]",
        lambda problem, _: with_rows(problem, is_finite),
        is_direct=True,
    )
