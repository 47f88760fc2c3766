"""The loss around a point along chosen directions, with paths laid over it."""

from thalweg.pictures._axis import Axis, Frame
from thalweg.pictures._directions import (
    Along,
    BottomEigenvectors,
    Direction,
    FilterNormalised,
    Gradient,
    Principal,
    TopEigenvectors,
    Towards,
)
from thalweg.pictures._landscape import Landscape, Slice
from thalweg.pictures._path import Path
from thalweg.pictures._record_path import record_path
from thalweg.pictures._survey import InterruptedLandscape, landscape
from thalweg.pictures._track import Track

__all__ = [
    "Along",
    "Axis",
    "BottomEigenvectors",
    "Direction",
    "FilterNormalised",
    "Frame",
    "Gradient",
    "InterruptedLandscape",
    "Landscape",
    "Path",
    "Principal",
    "Slice",
    "TopEigenvectors",
    "Towards",
    "Track",
    "landscape",
    "record_path",
]
