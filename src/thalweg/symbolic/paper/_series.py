"""Series: Σ and Π with their index, from where to where it runs, and their term."""

from __future__ import annotations

import re

from thalweg.symbolic._expression import Expression
from thalweg.symbolic.paper._descent import Descent
from thalweg.symbolic.paper._nodes import Series
from thalweg.symbolic.paper._pieces import Mark


def series(formula: Descent) -> Series:
    """Reads the sum or product whose sign stands here.

    Args:
        formula: in which it stands.
    """
    place = formula.place
    is_product = place.stands("∏")
    place.at += 1
    index, first, last = "", None, None
    for _ in range(2):
        if place.stands("_"):
            index, first = _running(formula)
        elif place.stands("^"):
            place.at += 1
            last = formula.group()
        elif place.now is not None and re.fullmatch(r"_[a-z]", place.now.text):
            index = place.now.text[1:]
            place.at += 1
    return Series(index, first, last, formula.product(), is_product)


def _running(formula: Descent) -> tuple[str, Expression | None]:
    """The i = 1 below a sum."""
    place = formula.place
    place.at += 1
    if not place.stands("{"):
        now = place.now
        if now is None or now.mark is not Mark.WORD:
            raise place.refuse()
        index = now.text[0]
        place.split(1)
        return index, None
    start, end = place.enclosed()
    inside = place.pieces[start:end]
    if not inside or inside[0].mark is not Mark.WORD or len(inside[0].text) != 1:
        raise place.refuse("the index of a sum is not understood")
    if len(inside) == 1:
        return inside[0].text, None
    if inside[1].mark is not Mark.RELATION or inside[1].text != "=":
        raise place.refuse("the index of a sum is not understood")
    return inside[0].text, formula.within(start + 2, end)
