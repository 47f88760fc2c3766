"""Passage: a stretch of mathematics in its hand, and where on the page its members stand."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.sheet.marking._page import Stretch
from thalweg.symbolic.paper import PROSE, Hand, Mark, Member, Piece

_GOING_ON = frozenset((
    "thus", "hence", "which", "gives", "giving", "get", "obtain", "then", "that", "therefore",
    "i.e.", "and", "equals", "this", "also",
    "somit", "damit", "folgt", "das", "ergibt", "gleich", "ist", "und", "erhalten", "daher", "dann",
    "donc", "soit", "ainsi", "est", "vaut", "qui", "cela", "obtient", "egal", "égal",
))  # fmt: skip
"""Words before a relation that go on with what was said."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a page, to be read.

    Args:
        stretch: the mathematics.
        hand: how it is written.
    """

    stretch: Stretch
    hand: Hand

    @property
    def before(self) -> str:
        """The words right before it."""
        return self.stretch.before

    @property
    def names_another(self) -> bool:
        """Whether words right before say what it is about: the error $= 1 - 0.75$."""
        words = re.findall(r"[^\W\d_]{3,}", self.before)
        return not self.stretch.is_plain and bool(words) and words[-1].lower() not in _GOING_ON

    def goes_on(self, pieces: Sequence[Piece], run: Sequence[Piece]) -> bool:
        """Whether a stretch of prose that begins with a relation goes on with what was said.

        It does at the beginning of a line and behind "which is"; elsewhere what stands before the
        relation could not be read.
        """
        at = next((i for i, piece in enumerate(pieces) if piece.start >= run[0].start), 0)
        if run[0].mark is not Mark.RELATION or at == 0:
            return True
        word = pieces[at - 1].text.lower()
        return pieces[at - 1].is_sign(",", ".") or word in _GOING_ON or word in PROSE

    def line_of(self, member: Member) -> int:
        """Where a member begins; the first line, if nothing stands in it."""
        return self.stretch.line_of(member.pieces[0].start if member.pieces else 0)

    def first_line(self, members: Sequence[Member]) -> int:
        """Where the first member begins in which something stands."""
        return next(
            (self.line_of(member) for member in members if member.pieces), self.stretch.line
        )

    def text_of(self, member: Member) -> str:
        """A member as it stands on the page, on one line."""
        if not member.pieces:
            return ""
        text = self.cut(member.pieces)
        if not re.search(r"matrix|array|cases", text):
            # What & aligns; within a matrix it divides cells.
            text = re.sub(r"\s*&\s*", " ", text)
        return " ".join(text.split())[:400]

    def cut(self, pieces: Sequence[Piece]) -> str:
        """The text from the first piece to the last."""
        return self.stretch.text[pieces[0].start : pieces[-1].end]
