"""Outlying: which samples of a table have a value far beyond the usual, and how far."""

from __future__ import annotations

import torch
from torch import Tensor

FAR, USUAL = 30.0, 0.9
"""An outlier is this many times further from the median than this share of the samples."""

FEW = 0.11
"""Outliers are less than this share of the samples, in every feature that has any."""

WILD = 300.0
"""Half of the outliers lie so far beyond the usual where a unit was mixed up, or a code stands for
what is missing. Of a heavy tail half lie less than 200 times as far, however many samples there
are: some 60 times under Cauchy's law and a lognormal one of σ = 3, 130 under Pareto's of index ½.
"""

DISTINCT = 0.5
"""Share of a feature's values that differ from one another where it measures something, however
small its usual spread is: all but the outliers is so once they are scaled by a spread that
these have made."""


def distances(x: Tensor) -> Tensor:
    """How far beyond the usual a value of each sample of a table lies; 0 where none lies so.

    In a feature where many have, it is usual. In a wide table each feature may have its own few,
    so that together they are many samples.
    """
    away = (x - x.median(0).values).abs()
    usual = _quantile(away, USUAL)
    # A feature that is nearly always zero is measured by the others.
    typical = float(usual[usual > 0].median()) if bool((usual > 0).any()) else 0.0
    if not typical:
        return torch.zeros(len(x), dtype=x.dtype)
    is_measured = (usual > 0) & _is_distinct(x)
    usual = torch.where((usual > 1e-3 * typical) | is_measured, usual, typical)
    ratio = away / usual
    is_far = ratio > FAR
    if float(is_far.any(1).double().mean()) >= FEW:
        # Pixels that are nearly always dark are no outliers where they are lit: far is what is far
        # from the usual of other features as well.
        ratio = away / usual.clamp_min(float(usual.square().mean().sqrt()))
        is_far = ratio > FAR
        is_far &= is_far.double().mean(0) < FEW
    return torch.where(is_far, ratio, 0.0).amax(1)


def are_wild(away: Tensor) -> bool:
    """Whether half of the outliers, of which there are some, lie where no heavy tail puts them."""
    return float(away[away > 0].median()) > WILD


def _is_distinct(x: Tensor) -> Tensor:
    """Which features take another value in nearly every sample."""
    ordered = x.sort(0).values
    return (ordered.diff(dim=0) > 0).double().mean(0) > DISTINCT


def _quantile(table: Tensor, level: float) -> Tensor:
    return table.sort(0).values[min(len(table) - 1, int(level * len(table)))]
