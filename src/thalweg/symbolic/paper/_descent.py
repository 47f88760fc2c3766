"""Descent: what the reader of a part of a formula asks of the reader of the whole."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from thalweg.symbolic._expression import Expression
from thalweg.symbolic.paper._pieces import Piece
from thalweg.symbolic.paper._place import Place


@dataclass(frozen=True)
class Note:
    """What is written below a brace.

    Args:
        of: the expression over it.
        pieces: the note.
    """

    of: Expression
    pieces: tuple[Piece, ...]


@runtime_checkable
class Descent(Protocol):
    """Reads formulas within a formula.

    Attributes:
        place: where it stands.
        notes: what braces below its parts say.
    """

    place: Place
    notes: list[Note]

    def within(self, start: int, end: int) -> Expression:
        """What stands from one place to another, as a formula of its own."""

    def product(self) -> Expression:
        """Factors from here on."""

    def power(self) -> Expression:
        """One factor, with what stands above and below it."""

    def atom(self) -> Expression:
        """One factor without."""

    def group(self) -> Expression:
        """A group in braces, or one piece."""
