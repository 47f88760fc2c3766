"""Samples with NaN or infinity left out, or the values that are missing filled in."""

from __future__ import annotations

from torch import Tensor

from thalweg.doctor._changed_data import is_finite, table_of, targets_of, with_inputs, with_rows
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

DEAR = 0.2
"""Leaving out this share of the samples, or more, costs too much of what they say."""


def dropped_rows(readings: Readings) -> Remedy | NotApplicable:
    """Trains on the samples in which every number is finite."""
    name = "samples with NaN or infinity left out"
    keeps = [is_finite(batch) for batch in readings.problem.batches]
    if all(bool(keep.all()) for keep in keeps):
        return NotApplicable(name, "every number of the data is finite")
    if not any(bool(keep.any()) for keep in keeps):
        return NotApplicable(name, "no sample would be left")
    if isinstance(filled_inputs(readings), Remedy):
        return NotApplicable(name, "so many would be lost that missing values are filled in")
    return Remedy(
        name,
        "keep = x.flatten(1).isfinite().all(1) & y.flatten(1 if y.ndim > 1 else 0).isfinite()"
        ".reshape(len(y), -1).all(1)\nx, y = x[keep], y[keep]",
        lambda problem, _: with_rows(problem, is_finite),
        is_direct=True,
    )


def filled_inputs(readings: Readings) -> Remedy | NotApplicable:
    """The mean of its feature over the training data in place of every NaN and infinity.

    Where leaving out the samples would cost many of them, for a few values each.
    """
    name = "missing values filled in by their feature's mean"
    table, y = table_of(readings.problem), targets_of(readings.problem)
    if table is None:
        return NotApplicable(name, "the inputs are no single tensor of features")
    if y is not None and y.is_floating_point() and not bool(y.isfinite().all()):
        return NotApplicable(name, "targets are missing, which cannot be filled in")
    is_missing = ~table.isfinite()
    lost = float(is_missing.reshape(len(table), -1).any(1).double().mean())
    if lost < DEAR:
        return NotApplicable(name, f"{lost:.1%} of the samples have any, and can be left out")
    count = (~is_missing).sum(0)
    mean = table.masked_fill(is_missing, 0.0).sum(0) / count.clamp_min(1)

    def filled(x: Tensor) -> Tensor:
        return x.where(x.isfinite(), mean)

    return Remedy(
        name,
        "is_known = x_train.isfinite()\n"
        "mean = x_train.where(is_known, 0.0).sum(0) / is_known.sum(0).clamp_min(1)\n"
        "x = x.where(x.isfinite(), mean)",
        lambda problem, _: with_inputs(problem, filled),
        is_direct=True,
    )
