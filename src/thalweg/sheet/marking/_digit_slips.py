"""Slips of digits: sign, shape, decimal point and rounding, seen from the numbers alone."""

from __future__ import annotations

from typing import Any

import numpy as np

from thalweg.sheet.marking._case import (
    Case,
    fits,
    is_telling,
    pairs_of,
    places_of,
)
from thalweg.sheet.marking._step import Slip


def by_shape(case: Case) -> Slip | None:
    """It is the transpose of what is right, or of another shape."""
    shapes = [right.shape for right in case.right]
    for claimed in case.claimed:
        for right in case.right:
            if claimed.shape == () or 1 in claimed.shape or claimed.shape != right.shape[::-1]:
                continue
            place = places_of(case, claimed.mid)
            is_square = claimed.shape == right.shape
            if not is_square or (
                fits(claimed.mid, right.mid.T, place, 0.6)
                and not np.allclose(right.mid, right.mid.T)
            ):
                return Slip.TRANSPOSED
    if shapes and not any(
        c.shape == shape or (1 in shape and c.shape == shape[::-1])
        for c in case.claimed
        for shape in shapes
    ):
        return Slip.SHAPE
    return None


def by_sign(case: Case) -> Slip | None:
    """It is the negative of what is right."""
    for c, r, place in pairs_of(case):
        is_exact = bool(np.any(c) and np.allclose(c, -r, rtol=1e-9, atol=0.0))
        if is_exact or (fits(c, -r, place) and is_telling(c, place)):
            return Slip.SIGN
    return None


def by_entry_sign(case: Case) -> Slip | None:
    """Some of its entries have the wrong sign."""
    for c, r, place in pairs_of(case):
        if fits(np.abs(c), np.abs(r), place) and is_telling(c, place):
            return Slip.SIGN
    return None


def by_rounding(case: Case) -> Slip | None:
    """It is off by a unit of the last digit, or rounded to fewer digits than it shows."""
    if case.display is None:
        return None
    for c, r, place in pairs_of(case):
        wrong = np.abs(c - r) > 0.51 * place
        # Of whole numbers nobody rounds the last digit.
        is_near = (np.abs(c - r) < 2.6 * place) & (place < 1) & (np.abs(c) > 3 * place)
        # -0.04 for -0.02 is no rounding, but a factor.
        is_near &= np.abs(c - r) < 0.3 * np.maximum(np.abs(c), np.abs(r))
        is_next = (np.abs(c - r) < 1.01 * place) & (place < 1)
        # Rounded to fewer digits, and shown with zeros as if it were exact.
        if bool(np.all(~wrong | is_near | is_next | _is_coarse(c, r, place))):
            return Slip.ROUNDING
    return None


def _is_coarse(c: Any, r: Any, place: Any) -> Any:
    found = np.zeros(np.shape(c), dtype=bool)
    for power in (1, 2, 3, 4):
        coarse = place * 10.0**power
        found |= (np.abs(np.round(r / coarse) * coarse - c) <= 1e-6 * place) & (np.abs(c) >= coarse)
    return found & (np.abs(c - r) < 0.1 * np.abs(c))


def by_point(case: Case) -> Slip | None:
    """It is a power of ten away."""
    if case.display is None:
        return None
    for c, r, place in pairs_of(case):
        for power in (-4, -3, -2, -1, 1, 2, 3, 4):
            scale = 10.0**power
            if fits(c, r * scale, np.maximum(place, place * scale)) and is_telling(c, place):
                return Slip.POINT
    return None
