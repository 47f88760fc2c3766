"""Gradient flow θ̇ = −∇L: exact on quadratics, by integrators that know the curvature elsewhere.

`thalweg.flow(problem, span)` follows it.

An integrator is an object that is passed in: `ExponentialAdams` (the default),
`ExponentialRosenbrock`, `RungeKuttaChebyshev`, `ExactQuadratic`; to compare with, `RungeKutta4` and
`Torchdiffeq`.
"""

from thalweg.gradient_flow._discretisation import (
    DiscretePath,
    Discretisation,
    adam,
    gradient_descent,
    momentum,
)
from thalweg.gradient_flow._events import Event, GradientBelow, Moment, Occurrence, SharpnessCrosses
from thalweg.gradient_flow._exponential_adams import ExponentialAdams
from thalweg.gradient_flow._exponential_rosenbrock import ExponentialRosenbrock
from thalweg.gradient_flow._field import Cost, Field, Place
from thalweg.gradient_flow._flow import flow
from thalweg.gradient_flow._gram import GramCertificate, Minimum, gram_certificate
from thalweg.gradient_flow._integrator import Integrator, Node, Step
from thalweg.gradient_flow._path import Path
from thalweg.gradient_flow._quadratic_flow import ExactQuadratic, QuadraticFlow, quadratic_flow
from thalweg.gradient_flow._result import Flow, InterruptedFlow, Reading, Stiffness
from thalweg.gradient_flow._runge_kutta_4 import RungeKutta4
from thalweg.gradient_flow._sharpness_reader import SharpnessReading
from thalweg.gradient_flow._stabilised import RungeKuttaChebyshev
from thalweg.gradient_flow._torchdiffeq import Torchdiffeq

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
    "flow",
    "gradient_descent",
    "gram_certificate",
    "momentum",
    "quadratic_flow",
]
