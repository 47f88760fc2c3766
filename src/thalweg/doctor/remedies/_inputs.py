"""Inputs brought to a scale that layers are made for, and outliers cut off."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg.doctor._changed_data import table_of, with_inputs
from thalweg.doctor._readings import Readings
from thalweg.doctor._sample import CONSTANT
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NO_TABLE = "the inputs are no single tensor of features"

REACH = 5.0
"""Outliers are cut off at so many times the spread of the middle half."""

BEYOND = 4.0
"""Values at this many times that distance measure nothing: their feature's median stands for them.
Cut off, they would still weigh more than all others."""

FURTHEST = 10.0
"""Standard deviations that any value ends up from its feature's mean at most. A pixel that is lit
in one image of a thousand would be thirty there, and such an image a step of its own."""

_SCALED = f"""mean, std = x_train.mean(0), x_train.std(0)
std = torch.where(std > {CONSTANT:g} * mean.abs().clamp_min(1e-12), std, 1.0)  # constant features
std = torch.maximum(std, (x_train - mean).abs().amax(0) / {FURTHEST:g})  # features that are rare
x = (x - mean) / std"""

_VARYING = f"""varies = x_train.std(0) > {CONSTANT:g} * x_train.mean(0).abs()
x = torch.where(varies, x, 0.0)  # or without these columns, in a network of fewer inputs"""

_CLIPPED = f"""at = torch.tensor([0.25, 0.5, 0.75], dtype=x_train.dtype)
low, middle, high = x_train.quantile(at, dim=0)
reach = {REACH:g} * (high - low).clamp_min(1e-12)
def cut(x):  # what lies {BEYOND:g} times as far as that measures nothing
    x = torch.where((x - middle).abs() > {BEYOND:g} * reach, middle, x)
    return x.clamp(middle - reach, middle + reach)
x, x_train = cut(x), cut(x_train)
{_SCALED}"""


def without_constants(readings: Readings) -> Remedy | NotApplicable:
    """Features that never change left out: zero, so that their weights do nothing."""
    name = "constant features left out"
    table = table_of(readings.problem)
    if table is None:
        return NotApplicable(name, NO_TABLE)
    rows = _finite(table)
    varies = rows.std(0) > CONSTANT * rows.mean(0).abs()
    return Remedy(
        name,
        _VARYING,
        lambda problem, _: with_inputs(problem, lambda x: torch.where(varies, x, 0.0)),
        changes_inputs=True,
        is_direct=True,
    )


def standardised_inputs(readings: Readings) -> Remedy | NotApplicable:
    """Every feature at mean zero and variance one, or less where some values would be far off."""
    name = "inputs standardised"
    table = table_of(readings.problem)
    if table is None:
        return NotApplicable(name, NO_TABLE)
    shift, scale = _standard(table)
    return Remedy(
        name,
        _SCALED,
        lambda problem, _: with_inputs(problem, lambda x: (x - shift) / scale),
        changes_inputs=True,
        is_direct=True,
    )


def clipped_inputs(readings: Readings) -> Remedy | NotApplicable:
    """Values far outside of the middle half of their feature cut off, then standardised.

    Those that lie many times farther still are replaced by the median.
    """
    name = "outliers of the inputs cut off, inputs standardised"
    table = table_of(readings.problem)
    if table is None:
        return NotApplicable(name, NO_TABLE)
    middle, reach = _fences(table)

    def cut(x: Tensor) -> Tensor:
        measured = torch.where((x - middle).abs() > BEYOND * reach, middle, x)
        return measured.clamp(middle - reach, middle + reach)

    if torch.equal(measured := cut(table), table):
        return NotApplicable(name, "no value of the inputs lies so far off")
    shift, scale = _standard(measured)
    return Remedy(
        name,
        _CLIPPED,
        lambda problem, _: with_inputs(problem, lambda x: (cut(x) - shift) / scale),
        changes_inputs=True,
        is_direct=True,
    )


def _fences(table: Tensor) -> tuple[Tensor, Tensor]:
    """The median of each feature, and how far from it values are taken as they are."""
    rows = _finite(table)
    at = torch.tensor([0.25, 0.5, 0.75], dtype=rows.dtype, device=rows.device)
    low, middle, high = rows.quantile(at, dim=0)
    reach = REACH * (high - low)
    # A feature that is mostly one value has no middle half: its ordinary spread counts.
    reach = torch.where(reach > 0, reach, REACH * _usual_spread(rows, middle))
    return middle, reach


def _usual_spread(rows: Tensor, middle: Tensor) -> Tensor:
    distances = (rows - middle).abs()
    at = 0.95
    return distances.quantile(at, dim=0)


def _standard(table: Tensor) -> tuple[Tensor, Tensor]:
    rows = _finite(table)
    mean, std = rows.mean(0), rows.std(0)
    std = torch.where(std > CONSTANT * mean.abs().clamp_min(1e-12), std, 1.0)
    return mean, torch.maximum(std, (rows - mean).abs().amax(0) / FURTHEST)


def _finite(table: Tensor) -> Tensor:
    return table[table.flatten(1).isfinite().all(1)]
