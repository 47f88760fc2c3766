"""Case: a wrong step beside what is right, as arrays that can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg._errors import FormulaError
from thalweg.sheet.marking._algebra import Reading
from thalweg.sheet.marking._band import Band, UnknownValueError
from thalweg.sheet.marking._digits import Display
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._values import Values
from thalweg.symbolic._expression import Expression


@dataclass(frozen=True)
class Case:
    """A wrong step, with all that may explain it.

    Args:
        values: what the page has said so far.
        node: what stands there.
        display: the same as digits; None if it is a formula.
        claimed: what it comes to.
        right: what it should come to, once for each possibility.
        formulas: the members of the chain before it.
        target: what the chain begins with.
        bound: what letters stand for in the chain alone.
    """

    values: Values
    node: Expression
    display: Display | None
    claimed: Sequence[Band]
    right: Sequence[Band]
    formulas: Sequence[Expression]
    target: Expression | None
    bound: dict[str, Band] = field(default_factory=dict)


def pairs_of(case: Case) -> Iterator[tuple[Any, Any, Any]]:
    """Claimed and right as arrays of one shape, with what one digit is worth."""
    for claimed in case.claimed:
        for right in case.right:
            c, r = np.atleast_2d(claimed.mid), np.atleast_2d(right.mid)
            if c.shape != r.shape and c.shape == r.shape[::-1] and 1 in c.shape:
                r = r.T
            if c.shape == r.shape:
                yield c, r, places_of(case, c)


def places_of(case: Case, c: Any) -> Any:
    """What the last digit of each entry is worth."""
    if case.display is None:
        # A formula with numbers that may be rounded in it.
        widths = [
            np.atleast_2d(band.high - band.low)
            for band in case.claimed
            if np.atleast_2d(band.mid).shape == c.shape
        ]
        return np.maximum(2e-3 * np.abs(c), 1.2 * np.max(widths, axis=0) if widths else 0.0)
    fitted = case.display.fits(Band(c, c, c))
    display = fitted or case.display
    return np.array([[d.place for d in row] for row in display.rows])


def fits(c: Any, r: Any, place: Any, slack: float = 0.51) -> bool:
    """Whether two arrays are the same to the last digit."""
    return bool(np.all(np.abs(c - r) <= slack * place + 1e-12 * np.abs(c)))


def is_telling(c: Any, place: Any) -> bool:
    """Whether the digits say enough to tell one explanation from another."""
    return bool(np.any(np.abs(c) > 3 * place))


def value_of(case: Case, node: Expression) -> Band | None:
    """What a formula should come to; None if to nothing."""
    try:
        return case.values.value(node, View.TRUE, bound=case.bound)
    except (UnknownValueError, FormulaError):
        return None


def values_of(case: Case, node: Expression) -> list[Band]:
    """What a formula may come to, under each reading and from each view."""
    found = []
    for reading in (Reading(), Reading(is_elementwise=True)):
        for view in (View.SHOWN, View.TRUE):
            try:
                found.append(case.values.value(node, view, reading, bound=case.bound))
            except (UnknownValueError, FormulaError):
                continue
    return found


def scaled(r: Any, ratio: Any) -> Any | None:
    """An array times factors that lie or stand; None if they do not fit."""
    ratio = np.atleast_2d(ratio)
    for factor in (ratio, ratio.T):
        try:
            found = r * factor
        except ValueError:
            continue
        if found.shape == r.shape:
            return found
    return None
