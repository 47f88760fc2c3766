"""How scale and gradient run through the depth of a network, measured and predicted."""

from thalweg.signal._depth import DepthRow, Signal, Trend
from thalweg.signal._mean_field import (
    MeanField,
    critical_weight_variance,
    mean_field,
    next_length,
    slope_factor,
)

__all__ = [
    "DepthRow",
    "MeanField",
    "Signal",
    "Trend",
    "critical_weight_variance",
    "mean_field",
    "next_length",
    "slope_factor",
]
