"""Units of a layer that begin alike and stay alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import EARLY
from thalweg.doctor._readings import Readings

ALIKE = 1e-3
"""Units differ by less than this share of their weights."""

ONE_UNIT = 0.1
"""A layer whose second singular value is below this share of the first is one unit wide: of random
weights it is about as large as the first."""


def symmetric(readings: Readings) -> Finding | None:
    """All units of a hidden layer have the same weights, before the training and after it."""
    model, after = readings.problem.model, readings.watched.problem.model
    found = _alike(readings)
    if not readings.watched.failure:
        found = [n for n in found if _stays(model.get_submodule(n), after.get_submodule(n))]
    if not found:
        return None
    return Finding(
        Ailment.SYMMETRIC,
        f"The weights of all units are {_what(readings, found)} in {len(found)} hidden layer(s), "
        f"first {found[0]!r}: their gradients are the same as well, so that the layer stays one "
        f"unit wide. Draw them at random.",
        tuple(found),
        {f"difference between the units of {name}, after training": float(
            _difference(after.get_submodule(name)) or 0.0) for name in found},
        f"all units of a hidden layer have equal weights at the start, and differ by less than "
        f"{ALIKE:g} of them after the training, or where they were not zero its second singular "
        f"value is below {ONE_UNIT:g} of the first; and it does not learn as much as can be",
        2.0,
        readings.num_seen,
    )  # fmt: skip


def perhaps_symmetric(readings: Readings) -> Finding | None:
    """All units of a hidden layer begin alike and part late, so that too little is learned."""
    found = [] if readings.is_early else _alike(readings)
    if not found:
        return None
    return Finding(
        Ailment.SYMMETRIC,
        f"The weights of all units are {_what(readings, found)} at the start in {len(found)} "
        f"hidden layer(s), first {found[0]!r}: what parts them are their biases alone, and late. "
        f"Draw them at random.",
        tuple(found),
        {"layers whose units begin alike": float(len(found))},
        "all units of a hidden layer have equal weights at the start, the training does not learn "
        "as much as can be, and nothing else is found; it counts only where weights drawn at "
        "random are proved to do better",
        1.0,
        readings.num_seen,
        needs_proof=True,
    )


def _alike(readings: Readings) -> list[str]:
    """Hidden layers whose units begin alike, where too little is learned."""
    model = readings.problem.model
    names = [
        name
        for name, module in model.named_modules()
        if _units(module) is not None and not readings.problem.is_on_purpose(name)
    ]
    # After an epoch it may be on its way to what a single unit can learn.
    is_learning = readings.learned >= EARLY if readings.is_early else readings.trains_well
    return [] if is_learning else [n for n in names[:-1] if are_alike(model.get_submodule(n))]


def _what(readings: Readings, found: Sequence[str]) -> str:
    is_zero = all(not _rows(readings.problem.model.get_submodule(n)).any() for n in found)
    return "zero" if is_zero else "the same"


def _units(module: nn.Module) -> Tensor | None:
    """One row of incoming weights a unit; None where the module has no such, or one unit."""
    weight = getattr(module, "weight_ih_l0" if isinstance(module, nn.RNNBase) else "weight", None)
    if not isinstance(weight, Tensor):
        return None
    rows = weight.detach()
    if isinstance(module, nn.RNNBase):
        # What a unit is told by the inputs and by the other units.
        by_others = module.get_parameter("weight_hh_l0").detach()
        rows = torch.cat([rows, by_others], 1)[: module.hidden_size]
    elif isinstance(module, nn.modules.conv._ConvTransposeNd):
        rows = rows.transpose(0, 1).flatten(1)
    elif isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
        rows = rows.flatten(1)
    else:
        return None
    return rows if len(rows) > 1 or isinstance(module, nn.Linear) else None


def are_alike(module: nn.Module) -> bool:
    """Whether all units of a layer have the same weights."""
    difference = _difference(module)
    return difference is not None and difference <= 1e-6


def _stays(before: nn.Module, after: nn.Module) -> bool:
    """Whether a layer of equal units is still about one unit wide after the training.

    What the training pulls apart by itself was no obstacle: a residual branch's zeros, say, whose
    first gradients are as narrow. Other biases part equal weights by a little, and slowly.
    """
    if (_difference(after) or 0.0) <= ALIKE:
        return True
    rows = _rows(after)
    if not _rows(before).any() or not bool(rows.isfinite().all()) or min(rows.shape) < 2:
        return False
    values = torch.linalg.svdvals(rows.double())
    return bool(values[1] <= ONE_UNIT * values[0])


def _rows(module: nn.Module) -> Tensor:
    rows = _units(module)
    assert rows is not None, "only layers with units are asked"
    return rows


def _difference(module: nn.Module) -> float | None:
    """The largest distance of a unit's weights from the first's, over their size."""
    rows = _units(module)
    if rows is None or len(rows) < 2:
        return None
    distance = (rows - rows[0]).norm(dim=1).max()
    size = torch.maximum(rows.norm(dim=1).max(), torch.tensor(1e-12, device=rows.device))
    return float(distance / size)
