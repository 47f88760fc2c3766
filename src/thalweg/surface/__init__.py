"""The problem as a function of its parameters: values, gradients and curvature operators."""

from thalweg.surface._choice import Chosen
from thalweg.surface._operator import SurfaceOperator
from thalweg.surface._point import Point
from thalweg.surface._route import FiniteDifference, RebuiltGraph, RetainedGraph, Route, Taped
from thalweg.surface._surface import Surface

__all__ = [
    "Chosen",
    "FiniteDifference",
    "Point",
    "RebuiltGraph",
    "RetainedGraph",
    "Route",
    "Surface",
    "SurfaceOperator",
    "Taped",
]
