"""Chains: a = b ≈ c out of written mathematics, over rows and sums that go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from thalweg.symbolic.paper._brackets import ALIGNED, after, matches_of
from thalweg.symbolic.paper._pieces import Mark, Piece


@dataclass(frozen=True)
class Member:
    """What stands between two relations.

    Args:
        relation: before it; "" for the first.
        pieces: what it is written with.
    """

    relation: str
    pieces: tuple[Piece, ...]


def chains_of(pieces: Sequence[Piece]) -> list[list[Member]]:
    """Divides written mathematics into chains a = b ≈ c, over rows and sums that go on.

    Args:
        pieces: of one stretch of mathematics.

    Returns:
        The members of each chain, in order; a chain of one member has no relation.
    """
    return _Divider(_stacked(pieces)).divide()


class _Divider:
    """Walks over pieces outside of brackets, and cuts at relations and ends of statements."""

    def __init__(self, pieces: list[Piece]) -> None:
        self._pieces = pieces
        self._matches = matches_of(pieces)
        self._chains: list[list[Member]] = []
        self._chain: list[Member] = []
        self._relation = ""
        self._member: list[Piece] = []
        self._is_broken = False
        self._was_row = False

    def divide(self) -> list[list[Member]]:
        at = 0
        while at < len(self._pieces):
            piece = self._pieces[at]
            end = self._matches.get(at, at)
            if end > at:
                self._take(self._pieces[at : end + 1])
                at = end + 1
                continue
            self._step(piece, at)
            at += 1
        self._end_chain()
        return self._chains

    def _step(self, piece: Piece, at: int) -> None:
        if piece.mark in (Mark.OPEN, Mark.CLOSE):
            # The environments that only align: what follows one is another statement.
            if piece.text not in ALIGNED:
                self._take([piece])
            else:
                self._was_row = False
                self._is_broken = bool(self._chain or self._member)
        elif piece.mark is Mark.RELATION:
            self._is_broken = self._was_row = False
            if not self._member and not self._chain:
                # A relation at the beginning goes on with what stands before on the page.
                self._chain.append(Member("", ()))
            elif self._member or self._relation:
                self._end_member()
            self._relation = piece.text
        elif piece.mark is Mark.ROW:
            if not self._goes_on_after():
                self._is_broken = True
            self._was_row = True
        elif piece.mark is Mark.CELL:
            self._cell(at)
        elif piece.mark is Mark.BREAK and piece.text == "quad" and self._was_row:
            pass
        elif piece.mark in (Mark.BREAK, Mark.TEXT):
            self._is_broken = True
            self._was_row = False
        elif piece.is_sign(":") and not self._is_division(at):
            # "Forward pass: z = …", "k = 1: w = …"
            self._is_broken = True
            self._was_row = False
        else:
            self._take([piece])

    def _cell(self, at: int) -> None:
        following = self._following(at)
        if following is None or following.mark is Mark.RELATION or not self._chain:
            return
        if following.mark is Mark.SIGN and following.text in "+-*/⊙@":
            if self._is_broken and self._was_row:
                self._is_broken = False
            return
        if self._relation and not self._member:
            return
        self._is_broken = True

    def _following(self, at: int) -> Piece | None:
        for piece in self._pieces[at + 1 : at + 4]:
            if piece.mark is not Mark.CELL and not (
                piece.mark is Mark.BREAK and piece.text == "quad"
            ):
                return piece
        return None

    def _is_division(self, at: int) -> bool:
        """Whether a colon divides: 6 : 2, with a space before it and numbers around it."""
        before = self._pieces[at - 1] if at else None
        after = self._pieces[at + 1] if at + 1 < len(self._pieces) else None
        return (
            before is not None
            and after is not None
            and self._pieces[at].is_apart
            and (before.mark is Mark.NUMBER or before.is_sign(")"))
            and (after.mark is Mark.NUMBER or after.is_sign("(", "-"))
        )

    def _goes_on_after(self) -> bool:
        """Whether a row ends where more must come: after an operator or a relation."""
        if not self._member:
            return bool(self._relation)
        last = self._member[-1]
        return last.mark is Mark.SIGN and last.text in "+-*/⊙@"

    def _take(self, pieces: Sequence[Piece]) -> None:
        if self._is_broken:
            first = pieces[0]
            goes_on = self._was_row and first.mark is Mark.SIGN and first.text in "+*/⊙@"
            if not goes_on:
                self._end_chain()
            self._is_broken = False
        self._was_row = False
        self._member.extend(pieces)

    def _end_member(self) -> None:
        self._chain.append(Member(self._relation, tuple(self._member)))
        self._member = []
        self._relation = ""

    def _end_chain(self) -> None:
        if self._member or self._relation:
            self._end_member()
        if self._chain:
            self._chains.append(self._chain)
        self._chain = []


def _stacked(pieces: Sequence[Piece]) -> list[Piece]:
    r"""\overset{(1)}{=} is =."""
    found: list[Piece] = []
    at = 0
    while at < len(pieces):
        piece = pieces[at]
        if piece.mark is Mark.RELATION and piece.text == "stackrel":
            end, relation = at + 1, "="
            for _ in range(2):
                start = end
                end = after(pieces, start)
                inside = [p.text for p in pieces[start:end] if p.mark is Mark.RELATION]
                relation = inside[-1] if inside else relation
            found.append(Piece(Mark.RELATION, relation, piece.start, pieces[end - 1].end, True))
            at = end
            continue
        if piece.mark is Mark.COMMAND and piece.text == "right.":
            end = _reopened(pieces, at + 1)
            if end:
                at = end
                continue
        found.append(piece)
        at += 1
    return found


def _reopened(pieces: Sequence[Piece], at: int) -> int:
    r"""The place after \right. \\ \left., by which a bracket goes on in the next row; 0 if none."""
    while at < len(pieces) and pieces[at].mark in (Mark.ROW, Mark.BREAK, Mark.CELL):
        at += 1
    is_left = at < len(pieces) and pieces[at].mark is Mark.COMMAND and pieces[at].text == "left."
    return at + 1 if is_left else 0
