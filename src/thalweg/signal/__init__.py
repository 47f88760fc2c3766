"""How scale and gradient run through the depth of a network, measured and predicted."""

from thalweg.signal._depth import DepthRow, Signal, Trend
from thalweg.signal._edge import (
    Edge,
    critical_line,
    critical_weight_variance,
    edge,
    isometric_edge,
    stable_edge,
)
from thalweg.signal._mean_field import (
    MeanField,
    mean_field,
    next_length,
    slope_factor,
)

__all__ = [
    "DepthRow",
    "Edge",
    "MeanField",
    "Signal",
    "Trend",
    "critical_line",
    "critical_weight_variance",
    "edge",
    "isometric_edge",
    "mean_field",
    "next_length",
    "slope_factor",
    "stable_edge",
]
