"""Enclosed: what stands in brackets, between bars and in environments."""

from __future__ import annotations

import re
from collections.abc import Sequence

from thalweg.symbolic._expression import Array, Call, Expression, Negative, Number
from thalweg.symbolic.paper._descent import Descent
from thalweg.symbolic.paper._nodes import Cases
from thalweg.symbolic.paper._pieces import Mark, Piece

_MATRICES = frozenset((
    "matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array", "psmallmatrix", "vmatrix",
    "Vmatrix",
))  # fmt: skip


class Enclosed:
    """Reads expressions, vectors and matrices out of what encloses them.

    Args:
        formula: in which they stand.
    """

    def __init__(self, formula: Descent) -> None:
        self._formula = formula
        self._place = formula.place

    def bracketed(self) -> Expression:
        """What stands in the brackets that open here: an expression, or a vector or matrix."""
        start, end = self._place.enclosed()
        opening = self._place.pieces[start - 1]
        rows = self._place.divided(start, end, {";"}, {Mark.ROW})
        cells = [self._place.divided(*row, {","}, {Mark.CELL}) for row in rows]
        if all(first == last for row in cells for first, last in row):
            raise self._place.refuse("brackets with nothing in them")
        if len(rows) == 1 and len(cells[0]) == 1:
            return self._single(opening, start, end)
        if len(rows) > 1 and rows[-1][0] == rows[-1][1]:
            cells.pop()
        read = self._read(cells)
        if len(read) == 1:
            return Array(tuple(read[0]))
        if all(len(row) == 1 for row in read):
            return Array(tuple(row[0] for row in read))
        return Array(tuple(Array(tuple(row)) for row in read))

    def _single(self, opening: Piece, start: int, end: int) -> Expression:
        """Brackets without a comma or a row."""
        if not opening.is_sign("{"):
            beside = numbers_beside(self._place.pieces, start, end) or self._pair(start, end)
            if beside is not None:
                return beside
        found = self._formula.within(start, end)
        if opening.is_sign("[") and isinstance(found, Array) and len(found.shape) == 1:
            return Array((found,))
        return found

    def _pair(self, start: int, end: int) -> Expression | None:
        """The point (1,2) of a page with a decimal comma, where it stands alone; else None.

        Nobody puts a lone decimal in brackets; within a product, 3 · (1,2), it is one.
        """
        place = self._place
        behind = "".join(p.text for p in place.pieces[end + 1 :] if not p.is_sign("{", "}"))
        is_alone = start == 1 and behind in ("", "ᵀ", "^T", "^ᵀ", "'")
        last = place.pieces[end - 1]
        if not (place.hand.has_comma and is_alone and last.mark is Mark.NUMBER):
            return None
        found = re.fullmatch(r"([1-9]\d?|0)\.([1-9]\d?|0)", last.text)
        is_negative = end - start == 2 and place.pieces[start].is_sign("-")
        if found is None or not (is_negative or end - start == 1):
            return None
        first: Expression = Number(found[1])
        return Array((Negative(first) if is_negative else first, Number(found[2])))

    def _read(self, cells: list[list[tuple[int, int]]]) -> list[list[Expression]]:
        return [[self._formula.within(first, last) for first, last in row] for row in cells]

    def barred(self, bar: str) -> Expression:
        """|x| or ‖x‖."""
        closing = self._place.bar_closes(bar)
        if closing is None:
            raise self._place.refuse("a bar is not closed")
        inside = self._formula.within(self._place.at + 1, closing)
        self._place.at = closing + 1
        return Call("abs" if bar == "|" else "norm", (inside,))

    def environment(self, name: str) -> Expression:
        """The matrix whose environment begins here; of a determinant, its value."""
        start, end = self._place.enclosed()
        if name in ("cases", "dcases"):
            return self._cases(start, end)
        if name not in _MATRICES:
            raise self._place.refuse(f"\\begin{{{name}}} is not read")
        rows = self._place.divided(start, end, set(), {Mark.ROW})
        if len(rows) > 1 and rows[-1][0] == rows[-1][1]:
            rows.pop()
        read = self._read([self._place.divided(*row, {","}, {Mark.CELL}) for row in rows])
        array = Array(tuple(Array(tuple(row)) for row in read))
        if name == "vmatrix":
            return Call("det", (array,))
        return Call("norm", (array,)) if name == "Vmatrix" else array

    def _cases(self, start: int, end: int) -> Expression:
        """A formula in each row, and beside it when it holds."""
        place = self._place
        rows = place.divided(start, end, set(), {Mark.ROW})
        if len(rows) > 1 and rows[-1][0] == rows[-1][1]:
            rows.pop()
        values: list[Expression] = []
        conditions: list[Expression] = []
        for number, row in enumerate(rows, 1):
            cells = place.divided(*row, set(), {Mark.CELL})
            if len(cells) != 2:
                raise place.refuse("a case without its condition")
            (first, last), (from_, to) = cells
            while last > first and place.pieces[last - 1].mark is Mark.BREAK:
                last -= 1
            values.append(self._formula.within(first, last))
            condition = self._condition(from_, to)
            if condition is not None:
                conditions.append(condition)
            elif number < len(rows):
                raise place.refuse("a case whose condition is not understood")
        return Cases(tuple(values), tuple(conditions))

    def _condition(self, start: int, end: int) -> Expression | None:
        """A comparison, with or without a word before it; None for "otherwise"."""
        place = self._place
        kept = [at for at in range(start, end) if place.pieces[at].mark is not Mark.BREAK]
        words = [place.pieces[at].text for at in kept if place.pieces[at].mark is Mark.TEXT]
        said = {word for text in words for word in text.lower().strip(" ,.:").split()}
        while kept and place.pieces[kept[0]].mark is Mark.TEXT:
            kept.pop(0)
        while kept and place.pieces[kept[-1]].text in (".", ","):
            kept.pop()
        if not kept and said and said <= _OTHERWISE:
            return None
        signs = place.relations(start, end)
        is_plain = said <= _IF and len(signs) == 1 and bool(kept)
        if not is_plain or place.pieces[signs[0]].text not in ("<", ">", "≤", "≥"):
            raise place.refuse("a case whose condition is not understood")
        left = self._formula.within(kept[0], signs[0])
        right = self._formula.within(signs[0] + 1, kept[-1] + 1)
        return Call(f"indicator{place.pieces[signs[0]].text}", (left, right))


_IF = frozenset(("if", "for", "when", "where", "wenn", "falls", "für", "si", "pour"))
_OTHERWISE = frozenset(("otherwise", "else", "sonst", "sinon", "andernfalls", "ansonsten"))


def numbers_beside(pieces: Sequence[Piece], start: int, end: int) -> Array | None:
    """The vector [0.1 -0.2] of numbers divided by spaces only; None if it is none."""
    numbers: list[Expression] = []
    is_negative = False
    for at in range(start, end):
        piece = pieces[at]
        if piece.mark is Mark.BREAK and piece.text == "quad":
            continue
        if piece.is_sign("-") and not is_negative and (piece.is_apart or at == start):
            following = pieces[at + 1] if at + 1 < end else None
            if following is None or following.is_apart:
                return None
            is_negative = True
        elif piece.mark is Mark.NUMBER:
            number: Expression = Number(piece.text)
            numbers.append(Negative(number) if is_negative else number)
            is_negative = False
        else:
            return None
    return Array(tuple(numbers)) if len(numbers) > 1 else None
