"""Targets in the shape of the output, and at its scale."""

from __future__ import annotations

from math import prod

from thalweg.doctor._changed_data import targets_of, with_targets
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._last_activation import last_activation_of
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NO_TARGETS = "the targets are no single tensor of values"

REACHED = {"sigmoid": (0.05, 0.95), "hardtanh": (-1.0, 1.0), "tanh": (-0.9, 0.9)}
"""What a last activation returns without being driven to where it is flat, by its name."""

POSITIVE, ABOVE_ZERO = frozenset({"relu", "softplus"}), 0.5
"""What returns any size above zero, and where its least target is put, in standard deviations: away
from the kink.
"""


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


def targets_within_reach(readings: Readings) -> Remedy | NotApplicable:
    """Targets moved and scaled to what the last activation can return; predictions scaled back.

    For an activation that stands in the forward pass itself, where no module can be taken out.
    """
    name = "targets within what the last activation returns"
    y = targets_of(readings.problem)
    if y is None or not y.is_floating_point():
        return NotApplicable(name, NO_TARGETS)
    if readings.observed is None or last_activation_of(readings.problem) is not None:
        return NotApplicable(name, "the last activation can be taken out")
    finite = y[y.reshape(len(y), -1).isfinite().all(1)]
    least, most, std = finite.amin(0), finite.amax(0), finite.std(0)
    if not bool((std > 0).all()):
        return NotApplicable(name, "a target has one and the same value everywhere")
    final = readings.observed.head.final
    if final in POSITIVE:
        low, scale, how = ABOVE_ZERO, std, "y_train.std(0)"
    elif final in REACHED:
        low, high = REACHED[final]
        scale, how = (most - least) / (high - low), f"(most - least) / {high - low:g}"
    else:
        return NotApplicable(name, "the network ends in no activation of a known range")
    return Remedy(
        f"{name} ({final})",
        f"# better: leave the {final} out of forward; else\n"
        f"least, most = y_train.amin(0), y_train.amax(0)\n"
        f"scale = {how}\n"
        f"y = (y - least) / scale + {low:g}  # predictions: (model(x) - {low:g}) * scale + least",
        lambda problem, _: with_targets(problem, lambda y: (y - least) / scale + low),
        changes_loss=True,
        is_direct=True,
    )
