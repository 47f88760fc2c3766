"""Brackets: which closes which, and where a group ends."""

from __future__ import annotations

from collections.abc import Sequence

from thalweg.symbolic.paper._pieces import Mark, Piece

_OPENING = frozenset(("(", "[", "{", r"\{", "⟨", "⌊", "⌈"))
_CLOSING = frozenset((")", "]", "}", r"\}", "⟩", "⌋", "⌉"))

ALIGNED = frozenset((
    "align", "aligned", "split", "gather", "gathered", "equation", "eqnarray", "multline",
    "multlined", "alignat", "alignedat", "displaymath", "math", "flalign", "subequations", "center",
))  # fmt: skip
"""Environments that enclose nothing, and only align."""


def after(pieces: Sequence[Piece], at: int) -> int:
    """The place after the group or piece that stands at a place."""
    if at >= len(pieces) or not pieces[at].is_sign("{"):
        return min(at + 1, len(pieces))
    depth = 0
    for place in range(at, len(pieces)):
        depth += pieces[place].is_sign("{") - pieces[place].is_sign("}")
        if depth == 0:
            return place + 1
    return len(pieces)


def matches_of(pieces: Sequence[Piece]) -> dict[int, int]:
    """For each bracket and environment that is closed, where; and the other way round."""
    matches: dict[int, int] = {}
    waiting: list[int] = []
    for at, piece in enumerate(pieces):
        if piece.mark is Mark.OPEN and piece.text not in ALIGNED:
            waiting.append(at)
        elif piece.mark is Mark.CLOSE and piece.text not in ALIGNED:
            while waiting and pieces[waiting[-1]].mark is not Mark.OPEN:
                waiting.pop()
            if waiting:
                _pair(matches, waiting.pop(), at)
        elif piece.mark is Mark.SIGN and piece.text in _OPENING:
            waiting.append(at)
        elif piece.mark is Mark.SIGN and piece.text in _CLOSING and waiting:
            top = pieces[waiting[-1]]
            if piece.text == "}":
                # A brace closes a brace: round brackets within it that were left open are lost.
                while waiting and not pieces[waiting[-1]].is_sign("{"):
                    if pieces[waiting[-1]].mark is Mark.OPEN:
                        break
                    waiting.pop()
                if waiting and pieces[waiting[-1]].is_sign("{"):
                    _pair(matches, waiting.pop(), at)
            elif top.mark is Mark.SIGN and top.text != "{":
                _pair(matches, waiting.pop(), at)
    return matches


def _pair(matches: dict[int, int], opening: int, closing: int) -> None:
    matches[opening], matches[closing] = closing, opening
