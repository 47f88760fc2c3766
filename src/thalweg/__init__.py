"""thalweg reads the loss surface under a neural network and walks it."""

from thalweg import (
    critical,
    curvature,
    doctor,
    gradient_flow,
    linalg,
    monitor,
    optim,
    passes,
    pictures,
    problems,
    race,
    report,
    sheet,
    signal,
    surface,
    symbolic,
    tape,
)
from thalweg._errors import (
    BudgetError,
    DetachedLossError,
    FormulaError,
    LayoutError,
    NonFiniteError,
    OperatorError,
    OptimizerError,
    ProblemError,
    RandomModelError,
    RanksError,
    SecondDerivativeError,
    ThalwegError,
    UntapedError,
)
from thalweg._problem import Problem
from thalweg._version import __version__ as __version__
from thalweg.critical import escape, find_critical
from thalweg.curvature import critical_point, spectrum
from thalweg.doctor import examine
from thalweg.gradient_flow import flow
from thalweg.linalg import (
    density,
    eigenpairs,
    from_curvlinops,
    from_matvec,
    load,
    nearest,
    save,
    trace,
)
from thalweg.monitor import Monitor
from thalweg.passes import Pass
from thalweg.pictures import landscape
from thalweg.race import compare
from thalweg.sheet import WorkedPass, check, worked
from thalweg.signal import propagation
from thalweg.surface import Point, Surface
from thalweg.symbolic import Derivation, derive

__all__ = [
    "BudgetError",
    "Derivation",
    "DetachedLossError",
    "FormulaError",
    "LayoutError",
    "Monitor",
    "NonFiniteError",
    "OperatorError",
    "OptimizerError",
    "Pass",
    "Point",
    "Problem",
    "ProblemError",
    "RandomModelError",
    "RanksError",
    "SecondDerivativeError",
    "Surface",
    "ThalwegError",
    "UntapedError",
    "WorkedPass",
    "check",
    "compare",
    "critical",
    "critical_point",
    "curvature",
    "density",
    "derive",
    "doctor",
    "eigenpairs",
    "escape",
    "examine",
    "find_critical",
    "flow",
    "from_curvlinops",
    "from_matvec",
    "gradient_flow",
    "landscape",
    "linalg",
    "load",
    "monitor",
    "nearest",
    "optim",
    "passes",
    "pictures",
    "problems",
    "propagation",
    "race",
    "report",
    "save",
    "sheet",
    "signal",
    "spectrum",
    "surface",
    "symbolic",
    "tape",
    "trace",
    "worked",
]
