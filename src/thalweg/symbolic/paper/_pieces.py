"""Pieces: written mathematics cut up, each piece with what it is and where it stands."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Mark(Enum):
    """What a piece is."""

    NUMBER = "number"
    CUT = "number with dots after it"
    WORD = "letters"
    NAME = "letter of a name"
    STYLE = "command before what it sets"
    COMMAND = "another command"
    SIGN = "sign"
    RELATION = "relation"
    BREAK = "end of a statement"
    ROW = "end of a row"
    CELL = "end of a cell"
    TEXT = "words"
    OPEN = "begin of an environment"
    CLOSE = "end of an environment"


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of written mathematics.

    Args:
        mark: what it is.
        text: in plain letters: a decimal point, - for −, * for ·, names of Greek letters.
        start: its place in the text, from 0.
        end: where it ends.
        is_apart: whether a space stands before it.
    """

    mark: Mark
    text: str
    start: int
    end: int
    is_apart: bool

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.mark is Mark.SIGN and self.text in signs


@dataclass(frozen=True)
class Hand:
    """How a page writes numbers.

    Args:
        has_comma: a decimal comma, 0,5.
        is_plain: not LaTeX: letters side by side are one name.
    """

    has_comma: bool = False
    is_plain: bool = False
