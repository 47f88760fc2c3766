"""Band: what a number on paper may stand for, from the least to the greatest value."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Real = Any
"""A float, or a matrix of floats; a vector is a matrix of one column."""

_ROUNDING = 2.0**-51
"""Two units in the last place of a float64: what one operation may lose."""

_HUGE = 1e300


class UnknownValueError(Exception):
    """Something has no value here: a name without one, shapes that do not fit, a pole."""


@dataclass(frozen=True, eq=False)
class Band:
    """Three numbers or matrices of one shape: least, as written, greatest.

    Args:
        low: nothing smaller is meant.
        mid: computed from the digits as they stand.
        high: nothing greater is meant.
    """

    low: Real
    mid: Real
    high: Real

    @property
    def shape(self) -> tuple[int, ...]:
        """() of a number, (rows, columns) of a matrix."""
        return () if isinstance(self.mid, float) else self.mid.shape

    @property
    def is_finite(self) -> bool:
        """Whether every part is a number below 1e300."""
        if isinstance(self.mid, float):
            return -_HUGE < self.low <= self.high < _HUGE and math.isfinite(self.mid)
        return bool(np.all(np.isfinite(self.mid)) and np.all(np.abs(self.low) < _HUGE)) and bool(
            np.all(np.abs(self.high) < _HUGE)
        )

    def hull(self, other: Band) -> Band:
        """The least band that holds both; its middle stays."""
        if isinstance(self.mid, float):
            return Band(min(self.low, other.low), self.mid, max(self.high, other.high))
        return Band(np.minimum(self.low, other.low), self.mid, np.maximum(self.high, other.high))

    def entry(self, row: int, column: int) -> Band:
        """One entry of a matrix.

        Raises:
            UnknownValueError: if there is none: a name may be shown as a number and be a vector.
        """
        shape = self.shape
        if shape == () or row >= shape[0] or column >= shape[1]:
            raise UnknownValueError("an entry that is not there")
        return Band(
            float(self.low[row, column]),
            float(self.mid[row, column]),
            float(self.high[row, column]),
        )


def exact(value: Real) -> Band:
    """A band of no width."""
    return Band(value, value, value)


def overlap(a: Band, b: Band) -> bool:
    """Whether two bands may stand for the same; vectors lie or stand.

    Returns:
        False also where shapes differ.
    """
    a, b = aligned(a, b)
    if a.shape != b.shape:
        return False
    slack = 1e-12 * (np.abs(a.mid) + np.abs(b.mid)) + 1e-300
    return bool(np.all(a.low <= b.high + slack) and np.all(b.low <= a.high + slack))


def any_overlap(these: Sequence[Band], those: Sequence[Band]) -> bool:
    """Whether one of these may stand for the same as one of those."""
    return any(overlap(a, b) for a in these for b in those)


def is_same(a: Band, b: Band) -> bool:
    """Whether two bands end at the same numbers."""
    return a.shape == b.shape and bool(np.all(a.low == b.low) and np.all(a.high == b.high))


def aligned(a: Band, b: Band) -> tuple[Band, Band]:
    """The second laid down or stood up where both are vectors of one length."""
    if a.shape != b.shape and a.shape == b.shape[::-1] and 1 in a.shape:
        return a, transpose(b)
    return a, b


def stack(rows: list[list[Band]]) -> Band:
    """A matrix of numbers; of columns beside one another or rows below one another, too.

    Raises:
        UnknownValueError: if their shapes do not fit.
    """
    if all(item.shape == () for row in rows for item in row):
        parts = [
            np.array([[getattr(item, part) for item in row] for row in rows], dtype=float)
            for part in ("low", "mid", "high")
        ]
        return Band(*parts)
    try:
        made = [
            np.block([[np.atleast_2d(getattr(item, part)) for item in row] for row in rows])
            for part in ("low", "mid", "high")
        ]
    except ValueError as error:
        raise UnknownValueError("blocks of a matrix do not fit") from error
    return Band(*made)


def transpose(a: Band) -> Band:
    """Aᵀ."""
    if a.shape == ():
        return a
    return Band(a.low.T, a.mid.T, a.high.T)


def negative(a: Band) -> Band:
    """−A."""
    return Band(-a.high, -a.mid, -a.low)


def add(a: Band, b: Band) -> Band:
    """A + B, entry by entry."""
    low, mid, high = a.low + b.low, a.mid + b.mid, a.high + b.high
    lost = _ROUNDING * (_size(a) + _size(b))
    if a.low is a.high and b.low is b.high and _is_exact_sum(a.mid, b.mid, mid):
        return exact(mid)
    return Band(low - lost, mid, high + lost)


def _size(a: Band) -> Real:
    if isinstance(a.mid, float):
        return max(abs(a.low), abs(a.high))
    return np.maximum(np.abs(a.low), np.abs(a.high))


def _is_exact_sum(a: Real, b: Real, total: Real) -> bool:
    """Whether float64 lost nothing, by Knuth's two-sum."""
    if not isinstance(total, float):
        return False
    part = total - a
    return bool((a - (total - part)) + (b - part) == 0.0)


def multiply(a: Band, b: Band) -> Band:
    """A · B, entry by entry."""
    mid = a.mid * b.mid
    if isinstance(mid, float):
        if a.low == a.high and b.low == b.high:
            return _widened(mid, mid, mid)
        ends = (a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high)
        return _widened(min(ends), mid, max(ends))
    corners = np.stack(
        np.broadcast_arrays(a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high)
    )
    return _widened(corners.min(axis=0), mid, corners.max(axis=0))


def _widened(low: Real, mid: Real, high: Real) -> Band:
    return Band(low - _ROUNDING * abs(low), mid, high + _ROUNDING * abs(high))


def reciprocal(a: Band) -> Band:
    """1/A, entry by entry.

    Raises:
        UnknownValueError: where it may be a division by zero.
    """
    if bool(np.any((a.low <= 0) & (a.high >= 0))):
        raise UnknownValueError("a division by zero, or by what may be zero")
    return _widened(1.0 / a.high, 1.0 / a.mid, 1.0 / a.low)


def matmul(a: Band, b: Band) -> Band:
    """A B."""
    if a.shape[0] * a.shape[1] * b.shape[1] > 1_000_000:
        raise UnknownValueError("a product of matrices that are too large")
    left = [part[:, :, None] for part in (a.low, a.high)]
    right = [part[None, :, :] for part in (b.low, b.high)]
    corners = np.stack([x * y for x in left for y in right])
    low, high = corners.min(axis=0).sum(axis=1), corners.max(axis=0).sum(axis=1)
    lost = _ROUNDING * (a.shape[1] + 1) * np.abs(corners).max(axis=0).sum(axis=1)
    return Band(low - lost, a.mid @ b.mid, high + lost)


def power(a: Band, b: Band) -> Band:
    """Aᵇ, entry by entry.

    Raises:
        UnknownValueError: where it is not real, or beyond what float64 holds.
    """
    exponent = b.mid
    if not isinstance(exponent, float):
        raise UnknownValueError("a power whose exponent is no number")
    is_whole = b.low == b.high and exponent == round(exponent) and abs(exponent) < 1e6
    try:
        with np.errstate(all="raise", under="ignore"):
            if is_whole:
                return _whole_power(a, int(exponent))
            if bool(np.any(a.low < 0)):
                raise UnknownValueError("a power of a negative number that is not whole")
            return _real_power(a, b)
    except (OverflowError, ZeroDivisionError, FloatingPointError) as error:
        raise UnknownValueError("a power that is too large") from error


def _whole_power(a: Band, n: int) -> Band:
    if n < 0:
        return reciprocal(_whole_power(a, -n))
    ends = (a.low**n, a.high**n)
    low, high = np.minimum(*ends), np.maximum(*ends)
    if n % 2 == 0 and n > 0:
        low = np.where((a.low <= 0) & (a.high >= 0), 0.0, low)
    if a.shape == ():
        low, high = float(low), float(high)
    return _widened(low, a.mid**n, high)


def _real_power(a: Band, b: Band) -> Band:
    ends = [x**y for x in (a.low, a.high) for y in (b.low, b.high)]
    low, high = ends[0], ends[0]
    for end in ends[1:]:
        low, high = np.minimum(low, end), np.maximum(high, end)
    if a.shape == ():
        low, high = float(low), float(high)
    return _widened(low, a.mid**b.mid, high)


def rising(f: Callable[[Real], Real], a: Band) -> Band:
    """f(A) of a function that never falls."""
    return _widened(f(a.low), f(a.mid), f(a.high))


def from_magnitude(f: Callable[[Real], Real], a: Band) -> Band:
    """f(A) of an even function that falls away from zero, as σ′ and tanh′ do."""
    least = np.where((a.low <= 0) & (a.high >= 0), 0.0, np.minimum(abs(a.low), abs(a.high)))
    most = np.maximum(abs(a.low), abs(a.high))
    low, high = f(most), f(least)
    if a.shape == ():
        low, high = float(low), float(high)
    return _widened(low, f(a.mid), high)


def lipschitz(f: Callable[[Real], Real], steepest: float, a: Band) -> Band:
    """f(A) of a function that is nowhere steeper."""
    mid = f(a.mid)
    reach = steepest * np.maximum(a.high - a.mid, a.mid - a.low)
    if a.shape == ():
        reach = float(reach)
    return Band(mid - reach - _ROUNDING * abs(mid), mid, mid + reach + _ROUNDING * abs(mid))


def softmax(a: Band) -> Band:
    """The softmax of a vector: least where its own entry is least and the others greatest."""
    if a.shape == ():
        raise UnknownValueError("softmax of a number")
    shift = np.max(a.high)
    low, mid, high = (np.exp(part - shift) for part in (a.low, a.mid, a.high))
    return _widened(
        low / (low + (high.sum() - high)), mid / mid.sum(), high / (high + (low.sum() - low))
    )
