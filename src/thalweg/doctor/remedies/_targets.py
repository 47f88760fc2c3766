"""Targets in the shape of the output, and at its scale."""

from __future__ import annotations

from math import prod

from thalweg.doctor._changed_data import targets_of, with_targets
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NO_TARGETS = "the targets are no single tensor of values"


def reshaped_targets(readings: Readings) -> Remedy | NotApplicable:
    """Targets of the shape (n, 1) where the output has it, of (n,) where it has that."""
    name = "targets in the shape of the output"
    y = targets_of(readings.problem)
    if y is None:
        return NotApplicable(name, NO_TARGETS)
    seen = readings.observed.head.output_shape if readings.observed else ()
    shape = seen[1:] if seen else (1,)
    if not y.is_floating_point() or prod(shape) != prod(y.shape[1:]) or shape == y.shape[1:]:
        return NotApplicable(name, "they have as many dimensions already, or are classes")
    sizes = "".join(f", {size}" for size in shape)
    return Remedy(
        name,
        f"y = y.reshape(len(y){sizes})",
        lambda problem, _: with_targets(problem, lambda y: y.reshape(len(y), *shape)),
        changes_loss=True,
        is_direct=True,
    )


def standardised_targets(readings: Readings) -> Remedy | NotApplicable:
    """Targets of mean zero and variance one; predictions are scaled back behind the network."""
    name = "targets standardised"
    y = targets_of(readings.problem)
    if y is None or not y.is_floating_point():
        return NotApplicable(name, NO_TARGETS)
    finite = y[y.reshape(len(y), -1).isfinite().all(1)]
    mean, std = finite.mean(0), finite.std(0)
    if not bool((std > 0).all()):
        return NotApplicable(name, "a target has one and the same value everywhere")
    return Remedy(
        name,
        "mean, std = y_train.mean(0), y_train.std(0)\n"
        "y = (y - mean) / std  # and predictions: model(x) * std + mean",
        lambda problem, _: with_targets(problem, lambda y: (y - mean) / std),
        changes_loss=True,
        is_direct=True,
    )
