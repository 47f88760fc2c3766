"""Rebinding: a chain read with its letters standing for their newest values, w for w₁."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from thalweg.sheet.marking._band import Band, UnknownValueError, any_overlap
from thalweg.sheet.marking._chain import Chain
from thalweg.sheet.marking._digits import Display, is_numeric
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._values import Values
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Expression, Name
from thalweg.symbolic.paper import Derivative


class Rebinding:
    """Tries other values for the letters of a chain, and keeps those with which it holds.

    Args:
        values: what names stand for.
        weighing: what expressions come to.
    """

    def __init__(self, values: Values, weighing: Weighing) -> None:
        self._values = values
        self._ledger = values.ledger
        self._weighing = weighing

    def holds(self, chain: Chain, node: Expression) -> bool:
        """Whether a further member comes to what the chain comes to, with other values."""
        formulas = chain.formulas
        if not formulas:
            return False
        for bound in self._rebindings(formulas):
            mine = self._weighing.bands(node, View.SHOWN, is_loose=True, bound=bound)
            for formula in reversed(formulas):
                theirs = self._reference(formula, bound)
                if theirs and any_overlap(mine, theirs):
                    chain.bound = bound
                    chain.true, chain.shown = theirs, [*mine, *theirs]
                    chain.is_off = False
                    return True
        return False

    def shows(self, chain: Chain, display: Display, is_about: bool) -> bool:
        """Whether digits right behind a formula are what it comes to, with other values."""
        formulas = chain.formulas
        if not formulas or is_numeric(chain.links[-1].node):
            return False
        for bound in self._rebindings(formulas):
            for formula in reversed(formulas):
                theirs = self._reference(formula, bound)
                found = next((b for b in theirs if display.is_rounding_of(b, is_about)), None)
                if found is not None:
                    chain.bound, chain.true, chain.shown = bound, [found], [found]
                    chain.is_off = False
                    return True
        return False

    def _reference(self, formula: Expression, bound: dict[str, Band]) -> list[Band]:
        if isinstance(formula, Derivative):
            try:
                return self._values.derivatives(formula, View.TRUE, bound)
            except UnknownValueError:
                return []
        if isinstance(formula, Name):
            found = self._ledger.find(formula.text)
            if found is None or found.formula is None or found.params is not None:
                return []
            formula = found.formula
        return self._weighing.bands(formula, View.TRUE, is_loose=True, bound=bound)

    def _rebindings(self, formulas: Iterable[Expression]) -> Iterator[dict[str, Band]]:
        """Letters with the values of others of their family: w as w_2, then as w_1."""
        letters: set[str] = set()
        for formula in formulas:
            letters |= self._letters(formula)
        by_index: dict[str, dict[str, Band]] = {}
        for letter in sorted(letters):
            if "(" in letter:  # P(A) is not P(B).
                continue
            if re.search(r"[_^']", letter) and not re.search(r"[_^][a-z]([+-]\d)?$", letter):
                continue
            for other, quantity in self._ledger.family(letter):
                value = quantity.shown
                if value is None or quantity.params is not None:
                    continue
                index = other[len(re.split(r"[_^']", other)[0]) :]
                by_index.setdefault(index, {})[letter] = value
        for index in list(by_index)[:8]:
            yield by_index[index]

    def _letters(self, formula: Expression, depth: int = 0) -> set[str]:
        """The names in a formula, and in the formulas of these."""
        found: set[str] = set()
        for part in formula.walk():
            if isinstance(part, Derivative):
                found |= {name.text for name in part.by}
            if isinstance(part, Name) and depth < 6:
                found.add(part.text)
                quantity = self._ledger.find(part.text)
                if quantity is not None and quantity.formula is not None:
                    found |= self._letters(quantity.formula, depth + 1)
            if len(found) > 60:
                break
        return found
