"""Runs: the mathematics in a line of prose that nobody has put between dollars."""

from __future__ import annotations

import re
from collections.abc import Sequence

from thalweg.symbolic._spelling import FUNCTIONS, GREEK, function_named, normalised
from thalweg.symbolic.paper import PROSE, Known, Mark, Piece

_OPERATORS = frozenset("+-*/^⊙@")
_EQUAL = frozenset(("=", "≈", ":=", "~"))
_ARTICLES = frozenset(("a", "A", "I", "à", "y", "o", "e"))


def runs_of(pieces: Sequence[Piece], known: Known) -> list[list[Piece]]:
    """Finds stretches with a relation among words.

    Args:
        pieces: of one line.
        known: names that the page has defined.

    Returns:
        Each with its pieces; words around them are left out.
    """
    found: list[list[Piece]] = []
    run: list[Piece] = []
    for at, piece in enumerate(pieces):
        if (
            _is_word(pieces, at, known)
            or piece.is_sign("?")
            or (piece.is_sign("!") and not _is_factorial(pieces, at))
            or (piece.is_sign(".") and _ends_sentence(pieces, at))
        ):
            found.append(run)
            run = []
        else:
            run.append(piece)
    found.append(run)
    return [
        trimmed
        for run in found
        if any(p.mark is Mark.RELATION and p.text in _EQUAL for p in run)
        and len(trimmed := _trimmed(run)) >= 2
    ]


def _is_factorial(pieces: Sequence[Piece], at: int) -> bool:
    """5! = 120: a whole number before it, and the formula goes on behind it."""
    before = pieces[at - 1] if at else None
    after = pieces[at + 1] if at + 1 < len(pieces) else None
    return (
        before is not None
        and not pieces[at].is_apart
        and before.mark is Mark.NUMBER
        and before.text.isdigit()
        and after is not None
        and (after.mark is Mark.RELATION or _binds(after, False) or after.is_sign(")"))
    )


def _ends_sentence(pieces: Sequence[Piece], at: int) -> bool:
    return at + 1 >= len(pieces) or pieces[at + 1].is_apart


def _is_word(pieces: Sequence[Piece], at: int, known: Known) -> bool:
    piece = pieces[at]
    if piece.mark is Mark.TEXT:
        return True
    if piece.mark not in (Mark.WORD, Mark.NAME):
        return piece.mark is Mark.COMMAND and len(piece.text) == 1
    text = piece.text
    before = pieces[at - 1] if at else None
    after = pieces[at + 1] if at + 1 < len(pieces) else None
    is_left = _binds(before, True) or _is_subtracted(pieces, at)
    is_within = is_left or _binds(after, False) or _is_enclosed(before, after)
    if text in _ARTICLES and not is_within and not _is_factor(text, before, after, known):
        return True
    if len(text) == 1 or re.search(r"[\d_]", text) or known.is_value(normalised(text)):
        return False
    if function_named(text) in FUNCTIONS and after is not None:
        if after.is_sign("(", "'", "[") or after.mark in (Mark.NUMBER, Mark.NAME):
            return False
    if text in GREEK.values() or known.is_function(text):
        return False
    if after is not None and (after.is_sign("_", "^", "'") or after.text.startswith("_")):
        return False
    if len(text) > 1 and text[0] == "d" and _is_beside_slash(before, after):
        # dL/da, though "da" is a word as well.
        return False
    if text.lower() in PROSE:
        return True
    # Beside an operator or a relation a word is a quantity: error = target - output.
    is_bound_left, is_bound_right = is_left, _binds(after, False)
    if is_bound_right and after is not None and after.mark is Mark.RELATION:
        return False
    if not (is_bound_left or is_bound_right):
        return True
    if is_bound_left and is_bound_right:
        return False
    neighbour = after if is_bound_left else before
    return (
        neighbour is not None
        and neighbour.mark in (Mark.WORD, Mark.NAME, Mark.TEXT)
        and len(neighbour.text) > 1
    )


def _is_beside_slash(before: Piece | None, after: Piece | None) -> bool:
    return any(piece is not None and piece.is_sign("/") for piece in (before, after))


def _is_subtracted(pieces: Sequence[Piece], at: int) -> bool:
    """The y of 1-y: a number or a bracket before the minus makes it one."""
    if at < 2 or not pieces[at - 1].is_sign("-", "/"):
        return False
    return pieces[at - 2].mark is Mark.NUMBER or pieces[at - 2].is_sign(")")


def _is_enclosed(before: Piece | None, after: Piece | None) -> bool:
    """tanh(o), {y}, δ_o: an argument or an index, not a word."""
    if before is not None and (before.is_sign("_", "^") or before.mark is Mark.COMMAND):
        return True
    is_open = before is not None and before.is_sign("(", "{")
    return is_open and after is not None and after.is_sign(")", "}")


def _is_factor(text: str, before: Piece | None, after: Piece | None, known: Known) -> bool:
    """The A of r − αAp, beside letters that a command has set."""
    if before is not None and before.mark is Mark.NAME:
        return True
    if after is not None and after.mark is Mark.OPEN and known.is_value(text):
        return True
    if before is None or (before.mark is Mark.WORD and len(before.text) > 1):
        # "On a σ(0,5) ≈ 0,622" is French.
        return False
    beside = [piece for piece in (before, after) if piece is not None]
    return known.is_value(text) and any(
        piece.mark in (Mark.NAME, Mark.OPEN, Mark.STYLE)
        or (piece.mark is Mark.WORD and len(piece.text) == 1)
        for piece in beside
    )


def _binds(piece: Piece | None, is_before: bool) -> bool:
    if piece is None:
        return False
    if piece.mark is Mark.RELATION:
        return True
    return (
        piece.mark is Mark.SIGN
        and piece.text in _OPERATORS
        and not (
            # feed-forward, and/or
            piece.text in "-/" and not piece.is_apart and is_before
        )
    )


def _trimmed(run: list[Piece]) -> list[Piece]:
    """Without brackets at the ends that nothing opens or closes, and other signs of prose."""
    start, end = 0, len(run)
    while start < end and (
        run[start].is_sign(")", "]", ".", ":", "'", "/", "|", "*", "…", "%")
        or (run[start].mark is Mark.BREAK)
    ):
        start += 1
    while end > start and (
        run[end - 1].is_sign("(", "[", ":", ".", "'", "/", "-", "…")
        or run[end - 1].mark is Mark.BREAK
    ):
        end -= 1
    kept = run[start:end]
    depth = 0
    for at, piece in enumerate(kept):
        depth += piece.is_sign("(", "[") - piece.is_sign(")", "]")
        if depth < 0:
            return _trimmed(kept[:at]) if at else []
    if depth > 0:
        for at, piece in enumerate(kept):
            if piece.is_sign("(", "["):
                rest = _trimmed(kept[at + 1 :])
                has_relation = any(p.mark is Mark.RELATION for p in kept[:at])
                return kept if has_relation else rest
    return kept
