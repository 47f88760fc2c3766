"""How scale and gradient run through the depth of a network, measured and predicted."""

from thalweg.signal._depth import DepthRow, Signal, Trend
from thalweg.signal._edge import (
    Edge,
    critical_line,
    critical_weight_variance,
    edge,
    edge_at,
    isometric_edge,
    stable_edge,
)
from thalweg.signal._initialisation import (
    Draw,
    EdgeInitialisation,
    LayerInitialisation,
    edge_initialisation,
    gaussian,
    orthogonal,
)
from thalweg.signal._mean_field import (
    MeanField,
    mean_field,
    next_length,
    slope_factor,
)
from thalweg.signal._trainability import Trainability

__all__ = [
    "DepthRow",
    "Draw",
    "Edge",
    "EdgeInitialisation",
    "LayerInitialisation",
    "MeanField",
    "Signal",
    "Trainability",
    "Trend",
    "critical_line",
    "critical_weight_variance",
    "edge",
    "edge_at",
    "edge_initialisation",
    "gaussian",
    "isometric_edge",
    "mean_field",
    "next_length",
    "orthogonal",
    "slope_factor",
    "stable_edge",
]
