"""Identities: two formulas with letters that stand for nothing yet, tried at several values."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from thalweg._errors import FormulaError
from thalweg.sheet.marking._algebra import Reading
from thalweg.sheet.marking._band import Band, UnknownValueError, aligned, exact
from thalweg.sheet.marking._evaluate import IDENTITIES
from thalweg.sheet.marking._mutations import mutations_of
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._step import Slip
from thalweg.sheet.marking._values import Values
from thalweg.symbolic._expression import Expression
from thalweg.symbolic.paper import Derivative

_DRAWS = (
    (0.7390851, 1.2337006, 0.5671433, 1.6180339, 0.9159656, 1.1319882, 0.3678794, 1.4513692),
    (1.3247179, 0.4142135, 1.7724538, 0.8346268, 0.6434105, 1.5849625, 1.0471975, 0.3010299),
    (-0.6180339, 0.8660254, -1.2020569, 1.4142135, 0.5772156, -0.3465735, 1.1283791, -0.7853981),
)
"""Numbers between which nothing holds that does not hold for all."""

_TOL = 1e-7


class Identity:
    """Compares formulas at values drawn for their letters.

    Args:
        values: what is known of other names.
    """

    def __init__(self, values: Values) -> None:
        self._values = values

    def holds(self, left: Expression, right: Expression) -> bool | None:
        """Whether two formulas are the same for all values of their letters.

        Returns:
            None where that cannot be said: the right one has letters that the left one has not,
            something has no value, or they agree at some values and not at others.
        """
        try:
            letters = self._values.leaves(left)
            others = self._values.leaves(right)
        except UnknownValueError:
            return None
        # Of the identity matrix evaluation finds the size, or none.
        letters, others = letters - IDENTITIES, others - IDENTITIES
        if not letters or not others <= letters or len(letters) > len(_DRAWS[0]):
            return None
        return self._agree(left, right, sorted(letters))

    def _agree(self, left: Expression, right: Expression, letters: list[str]) -> bool | None:
        found: list[bool] = []
        for bound in _draws(letters):
            mine, theirs = self._values_at(left, bound), self._values_at(right, bound)
            if mine and theirs:
                found.append(any(_is_close(a, b) for a in mine for b in theirs))
        if not found or (any(found) and not all(found)):
            return None
        return found[0]

    def _values_at(self, node: Expression, bound: dict[str, Band]) -> list[Band]:
        if isinstance(node, Derivative):
            try:
                return self._values.derivatives(node, View.TRUE, bound)
            except (UnknownValueError, FormulaError):
                return []
        found = []
        for reading in (Reading(), Reading(is_elementwise=True)):
            try:
                found.append(self._values.value(node, View.TRUE, reading, bound=bound))
            except (UnknownValueError, FormulaError):
                continue
        return found

    def slip(self, left: Expression, right: Expression) -> Slip:
        """What the right formula looks like, if the left one is right."""
        try:
            letters = sorted(self._values.leaves(left) - IDENTITIES)
        except UnknownValueError:
            return Slip.FORMULA
        bound = next(iter(_draws(letters)))
        mine, theirs = self._values_at(left, bound), self._values_at(right, bound)
        if mine and theirs and mine[0].shape == theirs[0].shape == ():
            if abs(mine[0].mid + theirs[0].mid) <= _TOL * abs(mine[0].mid):
                return Slip.SIGN
        for slip, changed in mutations_of(right):
            if self._agree(left, changed, letters):
                return slip
        return Slip.FORMULA


def _draws(letters: list[str]) -> Iterator[dict[str, Band]]:
    for draw in _DRAWS:
        yield {letter: exact(value) for letter, value in zip(letters, draw, strict=False)}


def _is_close(a: Band, b: Band) -> bool:
    a, b = aligned(a, b)
    if a.shape != b.shape:
        return False
    return bool(np.all(np.abs(a.mid - b.mid) <= _TOL * (np.abs(a.mid) + np.abs(b.mid)) + 1e-12))
