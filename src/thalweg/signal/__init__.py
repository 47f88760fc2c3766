"""How scale and gradient run through the depth of a network, measured and predicted."""

from thalweg.passes import (
    Birth,
    Births,
    LayerUnderflow,
    Range,
    StepPass,
    TimePass,
    Underflow,
    along_time,
    births,
    underflow,
)
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
from thalweg.signal._jacobian import Jacobians, LayerJacobian, jacobians
from thalweg.signal._mean_field import (
    MeanField,
    mean_field,
    next_length,
    slope_factor,
)
from thalweg.signal._propagation import InterruptedPropagation, Propagation, propagation
from thalweg.signal._rank import LayerRank, NetworkRank, Witness, rank
from thalweg.signal._time import TimeSignal
from thalweg.signal._trainability import Trainability

__all__ = [
    "Birth",
    "Births",
    "DepthRow",
    "Draw",
    "Edge",
    "EdgeInitialisation",
    "InterruptedPropagation",
    "Jacobians",
    "LayerInitialisation",
    "LayerJacobian",
    "LayerRank",
    "LayerUnderflow",
    "MeanField",
    "NetworkRank",
    "Propagation",
    "Range",
    "Signal",
    "StepPass",
    "TimePass",
    "TimeSignal",
    "Trainability",
    "Trend",
    "Underflow",
    "Witness",
    "along_time",
    "births",
    "critical_line",
    "critical_weight_variance",
    "edge",
    "edge_at",
    "edge_initialisation",
    "gaussian",
    "isometric_edge",
    "jacobians",
    "mean_field",
    "next_length",
    "orthogonal",
    "propagation",
    "rank",
    "slope_factor",
    "stable_edge",
    "underflow",
]
