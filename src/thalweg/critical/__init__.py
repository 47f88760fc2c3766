"""Critical points of any index, and what methods do near them."""

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

__all__ = [
    "Attracted",
    "Bordered",
    "Escape",
    "EscapeMethod",
    "EscapeRun",
    "EscapeTheory",
    "InterruptedEscape",
    "LongStep",
    "Mirrored",
    "Penalised",
    "Scaled",
    "escape",
    "escape_methods",
]
