"""The problem as a function of its parameters: values, gradients and curvature operators."""

from thalweg.surface._choice import Chosen
from thalweg.surface._ggn import GGN, output_of
from thalweg.surface._hessian import HESSIAN
from thalweg.surface._jacobian import Jacobian
from thalweg.surface._operator import SurfaceOperator
from thalweg.surface._point import Point
from thalweg.surface._route import (
    BatchProduct,
    Curvature,
    FiniteDifference,
    RebuiltGraph,
    RetainedGraph,
    Route,
    Taped,
)
from thalweg.surface._sample_estimate import SampleEstimate, sample_estimate
from thalweg.surface._surface import Surface

__all__ = [
    "GGN",
    "HESSIAN",
    "BatchProduct",
    "Chosen",
    "Curvature",
    "FiniteDifference",
    "Jacobian",
    "Point",
    "RebuiltGraph",
    "RetainedGraph",
    "Route",
    "SampleEstimate",
    "Surface",
    "SurfaceOperator",
    "Taped",
    "output_of",
    "sample_estimate",
]
