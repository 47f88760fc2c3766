"""Gradient flow θ̇ = −∇L: exact on quadratics, by integrators that know the curvature elsewhere.

`thalweg.flow(problem, span)` follows it: the room itself can be called, as `gradient_flow`.

An integrator is an object that is passed in: `ExponentialAdams` (the default),
`ExponentialRosenbrock`, `RungeKuttaChebyshev`, `ExactQuadratic`; to compare with, `RungeKutta4` and
`Torchdiffeq`.
"""

import sys as _sys
from types import ModuleType as _ModuleType
from typing import Any as _Any

from thalweg.flow._discretisation import (
    DiscretePath,
    Discretisation,
    adam,
    gradient_descent,
    momentum,
)
from thalweg.flow._events import Event, GradientBelow, Moment, Occurrence, SharpnessCrosses
from thalweg.flow._exponential_adams import ExponentialAdams
from thalweg.flow._exponential_rosenbrock import ExponentialRosenbrock
from thalweg.flow._field import Cost, Field, Place
from thalweg.flow._flow import gradient_flow
from thalweg.flow._gram import GramCertificate, Minimum, gram_certificate
from thalweg.flow._integrator import Integrator, Node, Step
from thalweg.flow._path import Path
from thalweg.flow._quadratic_flow import ExactQuadratic, QuadraticFlow, quadratic_flow
from thalweg.flow._result import Flow, InterruptedFlow, Reading, Stiffness
from thalweg.flow._runge_kutta_4 import RungeKutta4
from thalweg.flow._sharpness_reader import SharpnessReading
from thalweg.flow._stabilised import RungeKuttaChebyshev
from thalweg.flow._torchdiffeq import Torchdiffeq

__all__ = [
    "Cost",
    "DiscretePath",
    "Discretisation",
    "Event",
    "ExactQuadratic",
    "ExponentialAdams",
    "ExponentialRosenbrock",
    "Field",
    "Flow",
    "GradientBelow",
    "GramCertificate",
    "Integrator",
    "InterruptedFlow",
    "Minimum",
    "Moment",
    "Node",
    "Occurrence",
    "Path",
    "Place",
    "QuadraticFlow",
    "Reading",
    "RungeKutta4",
    "RungeKuttaChebyshev",
    "SharpnessCrosses",
    "SharpnessReading",
    "Step",
    "Stiffness",
    "Torchdiffeq",
    "adam",
    "gradient_descent",
    "gradient_flow",
    "gram_certificate",
    "momentum",
    "quadratic_flow",
]


class _CallableRoom(_ModuleType):
    """So that `thalweg.flow(...)` and `thalweg.flow.ExponentialAdams` can both be typed."""

    def __call__(self, *arguments: _Any, **settings: _Any) -> Flow:
        """As `gradient_flow`."""
        return gradient_flow(*arguments, **settings)


_sys.modules[__name__].__class__ = _CallableRoom
