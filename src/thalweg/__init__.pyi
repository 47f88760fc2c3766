"""What `import thalweg` offers, for type checkers, and for `__init__.py` that loads it lazily."""

from . import (
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
from ._errors import (
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
from ._problem import Problem
from .critical import escape, find_critical
from .curvature import critical_point, spectrum
from .doctor import examine
from .gradient_flow import flow
from .linalg import (
    density,
    eigenpairs,
    from_curvlinops,
    from_matvec,
    load,
    nearest,
    save,
    trace,
)
from .monitor import Monitor
from .passes import Pass
from .pictures import landscape
from .race import compare
from .sheet import WorkedPass, check, worked
from .signal import propagation
from .surface import Point, Surface
from .symbolic import Derivation, derive

__version__: str

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
