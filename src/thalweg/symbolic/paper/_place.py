"""Place: where a reader stands in written mathematics, and what stands around."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Protocol, runtime_checkable

from thalweg._errors import FormulaError
from thalweg.symbolic.paper._brackets import after, matches_of
from thalweg.symbolic.paper._pieces import Hand, Mark, Piece

MAX_NESTING = 40
"""Brackets within brackets: what a parser that calls itself for each has stack for."""


@runtime_checkable
class Known(Protocol):
    """What names stand for, as far as a page has said so."""

    def is_value(self, name: str) -> bool:
        """Whether it is a number, a vector or a matrix."""

    def is_function(self, name: str) -> bool:
        """Whether it is a function that has been defined."""

    def num_arguments(self, name: str) -> int:
        """How many arguments a function that has been defined takes; 0 of anything else."""


class Place:
    """A place among pieces, and up to where they are read.

    Args:
        pieces: of one formula.
        known: what names stand for.
        hand: how it is written.

    Attributes:
        at: the place.
        end: before which is read.
    """

    def __init__(self, pieces: list[Piece], known: Known, hand: Hand) -> None:
        self.pieces = pieces
        self.known = known
        self.hand = hand
        self.matches = matches_of(pieces)
        self.at = 0
        self.end = len(pieces)
        self._nesting = 0

    @property
    def now(self) -> Piece | None:
        """What stands here; None at the end."""
        return self.pieces[self.at] if self.at < self.end else None

    def peek(self, by: int = 1) -> Piece | None:
        """What stands a few pieces further."""
        at = self.at + by
        return self.pieces[at] if at < self.end else None

    def stands(self, *signs: str) -> bool:
        """Whether one of these signs stands here."""
        return self.at < self.end and self.pieces[self.at].is_sign(*signs)

    def refuse(self, why: str = "") -> FormulaError:
        """The error that says that something cannot be read."""
        if why:
            return FormulaError(why)
        if self.now is None:
            return FormulaError("the formula ends where a number or a name is expected")
        return FormulaError(f"{self.now.text!r} is not understood here")

    def deepen(self) -> None:
        """Counts a formula within the formula.

        Raises:
            FormulaError: if there are too many.
        """
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            raise FormulaError(f"brackets are nested more than {MAX_NESTING} deep")

    def emerge(self) -> None:
        """Leaves a formula within the formula."""
        self._nesting -= 1

    # Groups

    def closing(self) -> int:
        """Where the bracket that opens here is closed."""
        closing = self.matches.get(self.at)
        if closing is None or closing >= self.end or closing < self.at:
            raise self.refuse("a bracket is not closed")
        return closing

    def enclosed(self) -> tuple[int, int]:
        """Takes the brackets that open here: from where to where they hold something."""
        closing = self.closing()
        start, self.at = self.at + 1, closing + 1
        return start, closing

    def after(self, at: int) -> int:
        """The place after the group or piece that stands at a place."""
        return after(self.pieces, at)

    def shown(self, start: int, end: int) -> str:
        """What stands from one place to another, without its braces."""
        return "".join(p.text for p in self.pieces[start:end] if not p.is_sign("{", "}"))

    def divided(
        self, start: int, end: int, breaks: set[str], marks: set[Mark]
    ) -> list[tuple[int, int]]:
        """The stretches between breaks that stand outside of further brackets."""
        found: list[tuple[int, int]] = []
        first = at = start
        while at < end:
            closing = self.matches.get(at, at)
            if at < closing < end:
                at = closing + 1
                continue
            piece = self.pieces[at]
            if piece.mark in marks or (piece.mark is Mark.BREAK and piece.text in breaks):
                found.append((first, at))
                first = at + 1
            at += 1
        found.append((first, end))
        return found

    def relations(self, start: int, end: int) -> list[int]:
        """Where relations stand."""
        return [at for at in range(start, end) if self.pieces[at].mark is Mark.RELATION]

    # Words

    def split(self, length: int) -> None:
        """Takes the first letters of a word, and leaves the others."""
        now = self.pieces[self.at]
        if len(now.text) > length:
            self.pieces[self.at] = replace(now, text=now.text[length:], is_apart=False)
        else:
            self.at += 1

    def part(self) -> None:
        """Makes a word's first letter a piece of its own."""
        now = self.pieces[self.at]
        self.pieces[self.at : self.at + 1] = [
            replace(now, text=now.text[0]),
            replace(now, text=now.text[1:], is_apart=False),
        ]
        self.matches = matches_of(self.pieces)
        self.end += 1

    # What comes next

    def is_cross(self) -> bool:
        """Whether a letter x stands for ×: 4 x 1.5."""
        now, before, following = self.now, self.peek(-1), self.peek()
        return (
            now is not None
            and now.mark is Mark.WORD
            and now.text in ("x", "X")
            and now.is_apart
            and before is not None
            and following is not None
            and (before.mark is Mark.NUMBER or before.is_sign(")"))
            and (following.mark is Mark.NUMBER or following.is_sign("("))
            and following.is_apart
        )

    def begins_factor(self) -> bool:
        """Whether what stands here multiplies what stands before it, without a sign."""
        now = self.now
        if now is None:
            return False
        if now.mark is Mark.SIGN:
            if now.text in ("|", "‖"):
                return self.bar_closes(now.text) is not None
            return now.text in ("(", "[", "{", r"\{", "∑", "∏", "∂", "∇", "√", "⟨", "⌊", "⌈")
        if now.mark is Mark.NUMBER:
            before = self.peek(-1)
            # 2 3 is no product, but (2) 3 and x 3 may be.
            return before is not None and before.is_sign(")", "}", "]", "|", "‖")
        return now.mark in (Mark.WORD, Mark.NAME, Mark.STYLE, Mark.OPEN) or (
            now.mark is Mark.COMMAND and now.text not in ("left.", "right.")
        )

    def bar_closes(self, bar: str) -> int | None:
        """Where the bar that opens here is closed; None if it opens nothing."""
        at = self.at + 1
        while at < self.end:
            piece = self.pieces[at]
            if piece.is_sign(bar):
                following = self.pieces[at + 1] if at + 1 < self.end else None
                if bar == "|" and following is not None and following.is_sign("_"):
                    return None
                return at if at > self.at + 1 else None
            at = max(self.matches.get(at, at), at) + 1
        return None

    def opens_arguments(self, by: int) -> bool:
        """Whether ( follows, behind a prime or a power."""
        at = self.at + by
        while at < self.end:
            piece = self.pieces[at]
            if piece.is_sign("(", "["):
                return True
            if piece.is_sign("'", "''") or re.fullmatch(r"\^\d", piece.text):
                at += 1
            elif piece.is_sign("^", "_"):
                at = after(self.pieces, at + 1)
            else:
                return False
        return False
