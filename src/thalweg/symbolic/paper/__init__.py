"""Paper: mathematics as people write it, LaTeX or plain, to expressions; nothing in it is run."""

from thalweg.symbolic.paper._chains import Member, chains_of
from thalweg.symbolic.paper._cutter import pieces_of
from thalweg.symbolic.paper._formula import Written, written
from thalweg.symbolic.paper._nodes import (
    At,
    Cases,
    CutNumber,
    Derivative,
    Entry,
    Mixed,
    Percent,
    Series,
)
from thalweg.symbolic.paper._pieces import Hand, Mark, Piece
from thalweg.symbolic.paper._place import Known
from thalweg.symbolic.paper._prose import PROSE
from thalweg.symbolic.paper._units import without_units
from thalweg.symbolic.paper._unwrapped import unwrapped

__all__ = [
    "PROSE",
    "At",
    "Cases",
    "CutNumber",
    "Derivative",
    "Entry",
    "Hand",
    "Known",
    "Mark",
    "Member",
    "Mixed",
    "Percent",
    "Piece",
    "Series",
    "Written",
    "chains_of",
    "pieces_of",
    "unwrapped",
    "without_units",
    "written",
]
