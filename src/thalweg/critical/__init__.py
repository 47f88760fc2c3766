"""Critical points of any index, found and certified, and what methods do near them."""

from thalweg.critical._certificate import Certificate
from thalweg.critical._damped_newton import DampedNewton
from thalweg.critical._deflation import Deflation
from thalweg.critical._escape import Escape, InterruptedEscape, escape
from thalweg.critical._escape_methods import EscapeMethod, escape_methods
from thalweg.critical._escape_run import EscapeRun
from thalweg.critical._escape_theory import (
    Attracted,
    Bordered,
    EscapeTheory,
    LongStep,
    Mirrored,
    Penalised,
    Scaled,
)
from thalweg.critical._find_critical import find_critical
from thalweg.critical._found_point import FoundPoint, Status
from thalweg.critical._gradient_norm_descent import GradientNormDescent
from thalweg.critical._gradient_trust_region import GradientTrustRegion
from thalweg.critical._newton_mr import NewtonMR
from thalweg.critical._page import index_against_error
from thalweg.critical._search import CriticalSearch
from thalweg.critical._solver import Solver, Stride
from thalweg.critical._starts import Initialisations, MergedUnits, Start, Starts, Trajectories
from thalweg.critical._storage import check_resumable
from thalweg.critical._symmetric_descent import SymmetricDescent

__all__ = [
    "Attracted",
    "Bordered",
    "Certificate",
    "CriticalSearch",
    "DampedNewton",
    "Deflation",
    "Escape",
    "EscapeMethod",
    "EscapeRun",
    "EscapeTheory",
    "FoundPoint",
    "GradientNormDescent",
    "GradientTrustRegion",
    "Initialisations",
    "InterruptedEscape",
    "LongStep",
    "MergedUnits",
    "Mirrored",
    "NewtonMR",
    "Penalised",
    "Scaled",
    "Solver",
    "Start",
    "Starts",
    "Status",
    "Stride",
    "SymmetricDescent",
    "Trajectories",
    "check_resumable",
    "escape",
    "escape_methods",
    "find_critical",
    "index_against_error",
]
