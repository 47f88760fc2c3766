r"""Unwrapped: what stands around whole statements taken away, such as \boxed{L = 3}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from thalweg.symbolic.paper._brackets import matches_of
from thalweg.symbolic.paper._pieces import Mark, Piece

_LISTING = frozenset(("cases", "dcases", "array", "matrix", "rcases", "empheq"))
"""Environments that may hold a statement in each row."""


def unwrapped(pieces: Sequence[Piece]) -> list[Piece]:
    r"""Written mathematics without what stands around statements.

    Args:
        pieces: of one stretch.

    Returns:
        \boxed{a = b} as a = b; each row of a system of equations as a statement of its own.
    """
    found = list(pieces)
    if any(piece.mark is Mark.STYLE for piece in found):
        found = _without_frames(found)
    if any(piece.mark is Mark.OPEN and piece.text in _LISTING for piece in found):
        found = _without_listings(found)
    return found


def _without_frames(pieces: list[Piece]) -> list[Piece]:
    """In one pass: each group knows, where it ends, whether a statement stood in it."""
    dropped: set[int] = set()
    waiting: list[tuple[int, bool]] = []
    related: list[bool] = [False]
    for at, piece in enumerate(pieces):
        if piece.mark is Mark.RELATION:
            related[-1] = True
        elif piece.mark is Mark.OPEN or piece.is_sign("{", "(", "[", r"\{"):
            is_frame = piece.is_sign("{") and at > 0 and pieces[at - 1].mark is Mark.STYLE
            waiting.append((at, is_frame))
            related.append(False)
        elif waiting and (piece.mark is Mark.CLOSE or piece.is_sign("}", ")", "]", r"\}")):
            start, is_frame = waiting.pop()
            if related.pop() and is_frame and piece.is_sign("}"):
                dropped |= {start - 1, start, at}
                related[-1] = True
    return [piece for at, piece in enumerate(pieces) if at not in dropped]


def _has_relation(pieces: Sequence[Piece], start: int, end: int) -> bool:
    """Whether a relation stands there outside of further brackets."""
    depth = 0
    for piece in pieces[start:end]:
        opens = piece.mark is Mark.OPEN or piece.is_sign("{", "(", "[", r"\{")
        closes = piece.mark is Mark.CLOSE or piece.is_sign("}", ")", "]", r"\}")
        depth += opens - closes
        if depth == 0 and piece.mark is Mark.RELATION:
            return True
    return False


def _without_listings(pieces: list[Piece]) -> list[Piece]:
    matches = matches_of(pieces)
    dropped: set[int] = set()
    turned: set[int] = set()
    upto = 0
    for start, piece in enumerate(pieces):
        end = matches.get(start, start)
        if piece.mark is not Mark.OPEN or end <= start or start < upto:
            continue
        # What stands within an environment belongs to it.
        upto = end
        if piece.text not in _LISTING:
            continue
        before = start - 1
        has_brace = before >= 0 and pieces[before].is_sign(r"\{", "{")
        first = before - 1 if has_brace else before
        if first >= 0 and pieces[first].mark not in (Mark.BREAK, Mark.TEXT, Mark.ROW):
            continue
        rows = _rows(pieces, start + 1, end)
        if all(_has_relation(pieces, *row) for row in rows):
            dropped |= {start, end, *([before] if has_brace else [])}
            if end + 1 < len(pieces) and pieces[end + 1].text == "right.":
                dropped.add(end + 1)
            dropped |= {at for at in range(start, end) if pieces[at].mark is Mark.CELL}
            turned |= {at for at in range(start, end) if pieces[at].mark is Mark.ROW}
    return [
        replace(piece, mark=Mark.BREAK, text="⇒") if at in turned else piece
        for at, piece in enumerate(pieces)
        if at not in dropped
    ]


def _rows(pieces: Sequence[Piece], start: int, end: int) -> list[tuple[int, int]]:
    """The rows in which something stands."""
    ends = [at for at in range(start, end) if pieces[at].mark is Mark.ROW] + [end]
    starts = [start, *(at + 1 for at in ends[:-1])]
    return [(one, other) for one, other in zip(starts, ends, strict=True) if other > one]
