"""What kind of place a point is, its spectrum, and which steps are stable there."""

from thalweg.curvature._critical_point import CriticalPoint, Verdict, critical_point
from thalweg.curvature._read_spectrum import spectrum
from thalweg.curvature._sharpness import Sharpness, SharpnessTracker
from thalweg.curvature._spectrum import InterruptedSpectrum, Spectrum
from thalweg.curvature._stability import Stability, StepRule

__all__ = [
    "CriticalPoint",
    "InterruptedSpectrum",
    "Sharpness",
    "SharpnessTracker",
    "Spectrum",
    "Stability",
    "StepRule",
    "Verdict",
    "critical_point",
    "spectrum",
]
