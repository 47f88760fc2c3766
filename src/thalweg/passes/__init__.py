"""The problem as a program: what every layer received, returned and got back as gradient."""

from thalweg.passes._birth import Birth, Births, Range, births
from thalweg.passes._gates import flat_gates
from thalweg.passes._pass import ActivationPass, LayerPass, Pass
from thalweg.passes._time import StepPass, TimePass, along_time
from thalweg.passes._underflow import LayerUnderflow, Underflow, underflow

__all__ = [
    "ActivationPass",
    "Birth",
    "Births",
    "LayerPass",
    "LayerUnderflow",
    "Pass",
    "Range",
    "StepPass",
    "TimePass",
    "Underflow",
    "along_time",
    "births",
    "flat_gates",
    "underflow",
]
