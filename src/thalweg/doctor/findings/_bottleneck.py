"""Layers so narrow, or of so low a rank, that what they are given is lost."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import HALF, is_own_target
from thalweg.doctor._readings import NOT_WELL, Readings
from thalweg.doctor.findings._symmetric import are_alike

RANK_TOL = 1e-4
"""Singular values below this share of the largest are none."""


def bottleneck(readings: Readings) -> Finding | None:
    """A hidden layer passes on fewer numbers than the answer needs, and too little is learned."""
    if readings.trains_well and not _is_lossy(readings):
        return None
    return _narrow(
        readings,
        f"the width or rank of a hidden layer is below what the targets need (a third of the "
        f"classes, two at least and eight at most), it is wider before it, and {NOT_WELL} "
        f"(or, of inputs that are their own targets, as many principal components explain less "
        f"than {HALF:.0%} of the variance)",
    )


def perhaps_bottleneck(readings: Readings) -> Finding | None:
    """The same of a network that learns well, and may learn more with more units."""
    if readings.is_early or is_own_target(readings.sample):
        return None
    found = _narrow(
        readings,
        "the width or rank of a hidden layer is below what the targets need (a third of the "
        "classes, two at least and eight at most), and it is wider before it; of a training that "
        "learns well it counts only where it is proved to do better with a wider one",
    )
    return found and replace(found, needs_proof=True)


def _narrow(readings: Readings, rule: str) -> Finding | None:
    """Hidden layers that pass on too few numbers, whatever is learned."""
    if readings.watched.failure or not readings.is_readable:
        return None
    needed = _needed(readings)
    layers = [layer for layer in readings.passed.layers if layer.has_matrix]
    widths = {layer.name: layer.num_units for layer in layers[:-1]}
    found: dict[str, int] = {}
    entry = readings.sample.x.shape[1] if readings.sample.x.ndim == 2 else 0
    for at, (name, width) in enumerate(widths.items()):
        rank = min(width, _rank(readings.problem.model.get_submodule(name)))
        before = max([entry, *list(widths.values())[:at]])
        after = max([0, *list(widths.values())[at + 1 :]])
        is_last = at == len(widths) - 1
        is_wide_around = min(before, layers[at].fan_in or 0) > rank and (after > rank or is_last)
        if rank < needed and is_wide_around and not readings.problem.is_on_purpose(name):
            found[name] = rank
    if not found:
        return None
    name = min(found, key=lambda n: found[n])
    return Finding(
        Ailment.BOTTLENECK,
        f"Information is lost in layer {name!r}: it passes on {found[name]} number(s), and "
        f"{needed} are needed for these targets. Two inputs that agree in them cannot be told "
        f"apart by anything that follows.",
        tuple(found),
        {**{f"rank of {n}": float(rank) for n, rank in found.items()}, "needed": float(needed)},
        rule,
        needed / max(found[name], 0.5),
        readings.num_seen,
    )


def _is_lossy(readings: Readings) -> bool:
    """Whether a network that returns what it is given is too narrow for half of its variance.

    What it learns is measured by what as many principal components explain, of which it may learn
    all.
    """
    return is_own_target(readings.sample) and readings.levels.explained < HALF


def _needed(readings: Readings) -> int:
    """Two numbers, or more for many classes: c classes on a line or in a plane crowd each other."""
    classes = readings.head.num_classes
    return 2 if classes is None else max(2, min(classes // 3, 8))


def _rank(module: nn.Module) -> int:
    weight = getattr(module, "weight", None)
    if weight is None or weight.ndim < 2 or weight.numel() > 1_000_000 or are_alike(module):
        return 1 << 30
    matrix = weight.detach().flatten(1).double()
    if not bool(torch.isfinite(matrix).all()):
        return 1 << 30
    values = torch.linalg.svdvals(matrix)
    # Zero or symmetric weights grow out of it, or are named so: the layer itself is wide.
    return int((values > RANK_TOL * values[0]).sum()) or (1 << 30)
