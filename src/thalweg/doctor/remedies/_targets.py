"""Targets in the shape of the output, and at its scale."""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._loss import Kind, known_loss
from thalweg.doctor._changed_data import target_of, targets_of, with_rows, with_targets
from thalweg.doctor._outlying import USUAL, distances
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._last_activation import last_activation_of
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

PROBABILITIES = (Kind.BINARY, Kind.BINARY_LOGITS, Kind.CLASSES, Kind.LOG_CLASSES)
"""Losses whose targets are classes, or what is as likely."""

NO_TARGETS = "the targets are no single tensor of values"

REACH = 5.0
"""Where some are outliers, what lies so many times further from the median than most is one, too:
eight standard deviations of a normal law."""

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
    """Targets of mean zero and variance one; predictions are scaled back behind the network.

    Each by itself; or all by one mean and variance, where one of them never varies.
    """
    name = "targets standardised"
    y = targets_of(readings.problem)
    if y is None or not y.is_floating_point():
        return NotApplicable(name, NO_TARGETS)
    if readings.observed is not None and readings.observed.head.kind in PROBABILITIES:
        return NotApplicable(name, "the loss takes probabilities as targets")
    finite = y[y.reshape(len(y), -1).isfinite().all(1)]
    mean, std = finite.mean(0), finite.std(0)
    each = "0"
    if not bool((std > 0).all()):
        mean, std, each = finite.mean(), finite.std(), ""
    if not bool((std > 0).all()):
        return NotApplicable(name, "the targets have one and the same value everywhere")
    return Remedy(
        name,
        f"mean, std = y_train.mean({each}), y_train.std({each})\n"
        "y = (y - mean) / std  # and predictions: model(x) * std + mean",
        lambda problem, _: with_targets(problem, lambda y: (y - mean) / std),
        changes_loss=True,
        is_direct=True,
    )


def numbered_targets(readings: Readings) -> Remedy | NotApplicable:
    """Classes numbered from 0, in the order of the numbers that they have; and two of them 0 and 1.

    Padding stays what it is.
    """
    name = "targets numbered from 0"
    y = targets_of(readings.problem)
    if y is None or readings.observed is None:
        return NotApplicable(name, NO_TARGETS)
    head, known = readings.observed.head, known_loss(readings.problem.loss)
    padding = known.ignore_index if known else None
    is_binary = head.kind in (Kind.BINARY, Kind.BINARY_LOGITS)
    number = 2 if is_binary else head.num_classes
    values = y[y != padding].unique() if not is_binary and padding is not None else y.unique()
    if number is None or y.is_floating_point() != is_binary or len(values) > number:
        return NotApplicable(name, "they are no classes, or more than there are outputs")
    if len(values) < 2 or torch.equal(values, torch.arange(len(values)).to(values)):
        return NotApplicable(name, "they are numbered so already")

    def numbered(y: Tensor) -> Tensor:
        places = torch.searchsorted(values, y).clamp_max(len(values) - 1).to(y.dtype)
        return torch.where(values[places.long()] == y, places, y)

    return Remedy(
        name,
        f"values = torch.tensor({values.tolist()}, dtype=y.dtype)\n"
        "y = torch.where(torch.isin(y, values), torch.searchsorted(values, y).to(y.dtype), y)",
        lambda problem, _: with_targets(problem, numbered),
        changes_loss=True,
        is_direct=True,
    )


def without_target_outliers(readings: Readings) -> Remedy | NotApplicable:
    """Trains on the samples whose targets do not lie beyond the usual, where some lie far so."""
    name = "samples with outliers in the target left out"
    y = targets_of(readings.problem)
    if y is None or not y.is_floating_point() or not bool(y.isfinite().all()):
        return NotApplicable(name, NO_TARGETS)
    if not bool((distances(y.reshape(len(y), -1)) > 0).any()):
        return NotApplicable(name, "no target lies far beyond the usual")
    middle = y.median(0).values
    reach = REACH * (y - middle).abs().quantile(USUAL, dim=0)

    def keeps(batch: Batch) -> Tensor:
        found = target_of(batch)
        assert found is not None, "the targets are a tensor"
        return ((found - middle).abs() <= reach).reshape(len(found), -1).all(1)

    return Remedy(
        name,
        f"middle = y_train.median(0).values\n"
        f"reach = {REACH:g} * (y_train - middle).abs().quantile({USUAL:g}, dim=0)\n"
        f"keep = ((y - middle).abs() <= reach).reshape(len(y), -1).all(1)\n"
        f"x, y = x[keep], y[keep]",
        lambda problem, _: with_rows(problem, keeps),
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
