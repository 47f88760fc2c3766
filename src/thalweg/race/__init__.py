"""The race: optimizers on one problem at equal budget, and which to take."""

from thalweg._budget import Budget
from thalweg._omission import Omission
from thalweg.race._compare import InterruptedComparison, compare
from thalweg.race._comparison import Comparison, Duel, Entry, Recommendation
from thalweg.race._course import Course
from thalweg.race._trial import Mark, SharpnessMark, Trial
from thalweg.race.contenders import (
    SHELF,
    ClosureContender,
    Contender,
    GradientContender,
    SurfaceContender,
)

__all__ = [
    "SHELF",
    "Budget",
    "ClosureContender",
    "Comparison",
    "Contender",
    "Course",
    "Duel",
    "Entry",
    "GradientContender",
    "InterruptedComparison",
    "Mark",
    "Omission",
    "Recommendation",
    "SharpnessMark",
    "SurfaceContender",
    "Trial",
    "compare",
]
