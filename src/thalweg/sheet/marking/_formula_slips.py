"""Slips of formulas: a factor or a term left out, or another slip undone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from thalweg.sheet.marking._band import Band
from thalweg.sheet.marking._case import (
    Case,
    fits,
    is_telling,
    pairs_of,
    places_of,
    scaled,
    values_of,
)
from thalweg.sheet.marking._copies import PRODUCTS
from thalweg.sheet.marking._mutations import mutations_of
from thalweg.sheet.marking._step import Slip
from thalweg.symbolic._expression import (
    Binary,
    Expression,
    Name,
    Negative,
    Operator,
)
from thalweg.symbolic.paper import Derivative


def by_mutation(case: Case) -> Slip | None:
    """A slip in the formula before gives what stands here, or undone here gives what is right."""
    sources: list[tuple[Expression, Sequence[Band]]] = []
    if case.display is None:
        sources.append((case.node, case.right))
    sources += [
        (formula, case.claimed)
        for formula in reversed(case.formulas)
        if not isinstance(formula, Name | Derivative)
    ]
    wide = case.display is None
    for node, wanted in sources[:3]:
        for slip, changed in mutations_of(node):
            for band in values_of(case, changed):
                if _comes_to(case, band, wanted, wide):
                    return slip
    return None


def _comes_to(case: Case, band: Band, wanted: Sequence[Band], wide: bool) -> bool:
    for want in wanted:
        a, b = np.atleast_2d(band.mid), np.atleast_2d(want.mid)
        if a.shape != b.shape and a.shape == b.shape[::-1] and 1 in a.shape:
            a = a.T
        if a.shape != b.shape:
            continue
        place = np.maximum((2e-4 if wide else 1e-9) * np.abs(b), 0 if wide else places_of(case, b))
        width = np.atleast_2d(np.maximum(band.high - band.mid, band.mid - band.low))
        if width.shape != b.shape:
            width = width.T
        if bool(np.all(np.abs(a - b) <= 0.51 * place + width + 1e-12)):
            return True
    return False


def _factors_of(node: Expression) -> Iterator[Expression]:
    if isinstance(node, Binary) and node.operator in PRODUCTS:
        yield from _factors_of(node.left)
        yield from _factors_of(node.right)
    elif isinstance(node, Binary) and node.operator is Operator.OVER:
        yield from _factors_of(node.left)
        yield node.right
    elif isinstance(node, Negative):
        yield from _factors_of(node.of)
    else:
        yield node
        if isinstance(node, Binary) and node.operator is Operator.POWER:
            yield node.left


def by_factor(case: Case) -> Slip | None:
    """A factor of the formula, or one half, is missing."""
    candidates: list[Any] = [2.0, 0.5]
    for formula in case.formulas:
        for factor in _factors_of(formula):
            candidates += [band.mid for band in values_of(case, factor)]
    if case.display is None or isinstance(case.target, Derivative):
        quantities = list(case.values.ledger.quantities.values())[-60:]
        candidates += [q.true.mid for q in quantities if q.true is not None]
    for c, r, place in pairs_of(case):
        if not is_telling(c, place):
            continue
        for factor in candidates:
            array = np.asarray(factor, dtype=float)
            if np.any(array == 0) or np.all(np.abs(np.abs(array) - 1) < 1e-9):
                continue
            expected = scaled(r, 1 / array)
            if expected is not None and fits(c, expected, place, 0.75):
                return Slip.DROPPED_FACTOR
    return None


def by_term(case: Case) -> Slip | None:
    """A term of the formula is missing, or there twice."""
    candidates: list[Any] = []
    for formula in case.formulas:
        for part in formula.walk():
            if isinstance(part, Binary) and part.operator in (Operator.PLUS, Operator.MINUS):
                for side in (part.left, part.right):
                    candidates += [band.mid for band in values_of(case, side)]
    if isinstance(case.target, Name) and case.display is None:
        quantities = list(case.values.ledger.quantities.values())[-60:]
        candidates += [q.true.mid for q in quantities if q.true is not None and q.is_given]
    for c, r, place in pairs_of(case):
        for term in candidates:
            array = np.atleast_2d(np.asarray(term, dtype=float))
            if np.all(array == 0):
                continue
            for shaped in (array, array.T):
                if shaped.shape in ((1, 1), r.shape) and (
                    fits(c, r - shaped, place) or fits(c, r + shaped, place)
                ):
                    return Slip.DROPPED_TERM
    return None
