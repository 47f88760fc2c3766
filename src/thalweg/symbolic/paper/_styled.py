r"""Styled: what stands behind \mathbf, \mathrm, \text or \boxed: a name, a word, a formula."""

from __future__ import annotations

import re

from thalweg.symbolic._expression import Call, Expression, Name
from thalweg.symbolic._spelling import normalised
from thalweg.symbolic.paper._derivatives import Derivatives
from thalweg.symbolic.paper._descent import Descent
from thalweg.symbolic.paper._functions import Functions
from thalweg.symbolic.paper._names import Names
from thalweg.symbolic.paper._pieces import Mark, Piece

_WHOLE = frozenset(("mathrm", "operatorname", "mathop", "mathit", "mathsf", "mathtt", "text"))


class Styled:
    """Reads what commands only set.

    Args:
        formula: in which they stand.
        names: by which an index is read.
        functions: by which arguments are read.
        derivatives: which an upright d begins.
    """

    def __init__(
        self, formula: Descent, names: Names, functions: Functions, derivatives: Derivatives
    ) -> None:
        self._formula = formula
        self._place = formula.place
        self._names = names
        self._functions = functions
        self._derivatives = derivatives

    def styled(self, style: Piece) -> Expression:
        """What the command that stands here sets."""
        place = self._place
        start = place.at + 1
        end = place.after(start)
        if end > place.end or start >= place.end:
            raise place.refuse()
        if style.text in ("mathbb", "mathbf") and self._is_indicator(start, end):
            return self._indicator(end)
        inside = place.pieces[start:end]
        if inside and inside[0].is_sign("{"):
            inside = inside[1:-1]
        if style.text in ("boxed", "fbox"):
            return self._formula_in(start, end)
        if len(inside) == 1 and inside[0].mark in (Mark.WORD, Mark.NAME):
            found = self._word(style.text, inside[0], end)
            if found is not None:
                return found
        if not inside:
            raise place.refuse()
        group = self._formula_in(start, end)
        is_name = (
            len(inside) > 1
            and all(
                p.mark in (Mark.WORD, Mark.NAME) or re.match(r"[_^{}]|\d", p.text) for p in inside
            )
            and style.text not in ("mathbb", "ensuremath")
        )
        # \mathbf{w_1} is a name with all that belongs to it.
        if isinstance(group, Name) and not is_name:
            return self._functions.after_name(self._names.indexed(group.text))
        return group

    def _formula_in(self, start: int, end: int) -> Expression:
        """A formula in braces, or of one piece."""
        is_group = end - start > 1
        found = self._formula.within(start + is_group, end - is_group)
        self._place.at = end
        return found

    def _word(self, style: str, word: Piece, end: int) -> Expression | None:
        """A single word; None where its letters are factors."""
        text = word.text
        if text == "d" and style in _WHOLE:
            derivative = self._derivatives.slashed()
            if derivative is not None:
                return derivative
        self._place.at = end
        if self._functions.is_styled(text):
            return self._functions.call(text)
        is_whole = style in _WHOLE or len(text) == 1 or word.mark is Mark.NAME
        if is_whole or self._place.known.is_value(normalised(text)):
            return self._functions.after_name(self._names.indexed(normalised(text)))
        return None

    def _is_indicator(self, start: int, end: int) -> bool:
        place = self._place
        shown = [p.text for p in place.pieces[start:end] if not p.is_sign("{", "}")]
        after = place.pieces[end] if end < place.end else None
        return shown in (["1"], ["I"]) and after is not None and after.is_sign("_", "[", "(", r"\{")

    def _indicator(self, at: int) -> Expression:
        """1 where a relation holds: 𝟙[z > 0], 𝟙_{z>0}."""
        place = self._place
        place.at = at + place.pieces[at].is_sign("_")
        start, end = place.enclosed()
        signs = place.relations(start, end)
        if len(signs) != 1 or place.pieces[signs[0]].text not in ("<", ">", "≤", "≥"):
            raise place.refuse("the condition of an indicator is not understood")
        left, right = self._formula.within(start, signs[0]), self._formula.within(signs[0] + 1, end)
        return Call(f"indicator{place.pieces[signs[0]].text}", (left, right))
