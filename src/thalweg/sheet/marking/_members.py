"""Members: what stands between two relations as an expression, and what braces below it claim."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg._errors import FormulaError
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._claims import Claims
from thalweg.sheet.marking._digits import display_of
from thalweg.sheet.marking._ledger import Ledger
from thalweg.sheet.marking._passage import Passage
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Expression
from thalweg.symbolic.paper import Mark, Member, Piece, written


class Members:
    """Reads members.

    Args:
        ledger: what names stand for.
        weighing: what expressions come to.
        claims: where digits below a brace are judged.
    """

    def __init__(self, ledger: Ledger, weighing: Weighing, claims: Claims) -> None:
        self._ledger = ledger
        self._weighing = weighing
        self._claims = claims

    def read(self, member: Member, passage: Passage) -> Expression:
        """The expression; what stands below its braces is judged on the way.

        Raises:
            FormulaError: where it cannot be read.
        """
        found = written(member.pieces, self._ledger, passage.hand)
        for note in found.notes:
            self._note(note.of, note.pieces, passage)
        return found.expression

    def _note(self, of: Expression, pieces: Sequence[Piece], passage: Passage) -> None:
        """What stands below a brace is a claim of its own where it is a number."""
        if not any(p.mark is Mark.NUMBER for p in pieces):
            return
        if any(p.mark is Mark.TEXT for p in pieces):
            return
        try:
            below = written(
                [p for p in pieces if p.mark is not Mark.RELATION], self._ledger, passage.hand
            ).expression
        except FormulaError:
            return
        display = display_of(below)
        if display is None:
            return
        line = passage.stretch.line_of(pieces[0].start)
        chain = Chain(line, head=of)
        self._weighing.begin(chain, of)
        if chain.true:
            self._claims.claim(chain, display, Link(below, line, passage.cut(pieces)), False)
