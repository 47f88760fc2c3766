"""Digits: what a number that is displayed stands for, and whether it is a correct rounding."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from thalweg.sheet.marking._band import Band
from thalweg.symbolic._expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic.paper import CutNumber, Derivative, Percent, Series

_SLACK = 1e-9
"""Of a place: what comparing two float64 may lose."""


@dataclass(frozen=True)
class Digits:
    """A number as it is displayed.

    Args:
        value: what is written.
        place: what one more in the last digit adds.
        is_cut: dots follow, so that the last digit may be cut as well as rounded.
        is_power: nothing but a power of ten, an order of magnitude.
        significant: how many digits carry it.
    """

    value: float
    place: float
    is_cut: bool = False
    is_power: bool = False
    significant: int = 1

    @property
    def band(self) -> Band:
        """All that is rounded to these digits."""
        half = self.place / 2
        low, high = self.value - half, self.value + half
        if self.is_cut:
            low, high = self.value - self.place, self.value + self.place
        return Band(low, self.value, high)

    def is_rounding_of(self, band: Band, place: float | None = None) -> bool:
        """Whether something in the band is rounded to these digits.

        A tie may be rounded up or down. Without dots a number that is cut instead of rounded is
        none of its roundings.
        """
        place = place or self.place
        half = (place if self.is_cut else place / 2) * (1 + _SLACK) + 4e-16 * abs(self.value)
        return bool(band.low - half <= self.value <= band.high + half)


@dataclass(frozen=True)
class Display:
    """A number, a vector or a matrix of numbers that are displayed.

    Args:
        rows: its digits.
        is_number: no brackets.
    """

    rows: tuple[tuple[Digits, ...], ...]
    is_number: bool

    @property
    def shape(self) -> tuple[int, ...]:
        """() of a number, (rows, columns) otherwise."""
        return () if self.is_number else (len(self.rows), len(self.rows[0]))

    @property
    def digits(self) -> Digits:
        """Those of a number."""
        return self.rows[0][0]

    @property
    def flat(self) -> tuple[Digits, ...]:
        """All, row by row."""
        return tuple(digits for row in self.rows for digits in row)

    @property
    def transposed(self) -> Display:
        """Its columns as rows."""
        return Display(tuple(zip(*self.rows, strict=True)), self.is_number)

    def band(self, part: str = "band") -> Band:
        """What its digits stand for, or, as "value", exactly what is written."""
        bands = [
            [d.band if part == "band" else Band(d.value, d.value, d.value) for d in row]
            for row in self.rows
        ]
        if self.is_number:
            return bands[0][0]
        return Band(
            *(np.array([[getattr(b, end) for b in row] for row in bands]) for end in
              ("low", "mid", "high"))
        )  # fmt: skip

    def fits(self, band: Band) -> Display | None:
        """Itself, laid down or stood up as the band is; None where shapes differ."""
        if self.shape == band.shape:
            return self
        if self.shape == (1, 1) and band.shape == ():
            return Display(self.rows, True)
        if self.shape == () and band.shape == (1, 1):
            return Display(self.rows, False)
        if self.shape == band.shape[::-1] and 1 in self.shape:
            return self.transposed
        return None

    def is_rounding_of(self, band: Band, is_about: bool = False) -> bool:
        """Whether every entry is a correct rounding of what the band allows.

        Args:
            band: what follows.
            is_about: ≈ stands before it: 1500 may be 1497, and 10⁻⁴ an order of magnitude.
        """
        fitted = self.fits(band)
        if fitted is None:
            return False
        if fitted.is_number:
            return _is_right(fitted.digits, band, is_about)
        return all(
            _is_right(digits, band.entry(i, j), is_about)
            for i, row in enumerate(fitted.rows)
            for j, digits in enumerate(row)
        )


def _is_right(digits: Digits, band: Band, is_about: bool) -> bool:
    if digits.is_rounding_of(band):
        return True
    if not is_about:
        return False
    if digits.is_power:
        mid = band.mid
        return bool(mid * digits.value > 0 and 0.1 <= abs(mid / digits.value) <= 10)
    if digits.place == 1 and digits.value % 10 == 0 and digits.value:
        place = 10.0
        while digits.value % (place * 10) == 0:
            place *= 10
        return digits.is_rounding_of(band, place)
    return False


def display_of(node: Expression) -> Display | None:
    """An expression as displayed digits; None if it is anything that has to be computed."""
    if isinstance(node, Transpose):
        inner = display_of(node.of)
        # (2, 3)ᵀ in a line of text is how a column is written.
        is_column = isinstance(node.of, Array) and len(node.of.shape) == 1
        return inner if inner is None or is_column else inner.transposed
    if isinstance(node, Array):
        rows: list[tuple[Digits, ...]] = []
        for item in node.items:
            cells = item.items if isinstance(item, Array) else (item,)
            found = [digits_of(cell) for cell in cells]
            if any(d is None for d in found):
                return None
            rows.append(tuple(d for d in found if d is not None))
        return Display(tuple(rows), False)
    digits = digits_of(node)
    return None if digits is None else Display(((digits,),), True)


def digits_of(node: Expression) -> Digits | None:
    """A number with a sign, a power of ten or a percent sign; None for anything else."""
    if isinstance(node, Negative):
        found = digits_of(node.of)
        if found is None:
            return None
        return Digits(-found.value, found.place, found.is_cut, found.is_power, found.significant)
    if isinstance(node, Number):
        value, place = float(node.value), float(node.place)
        digits = node.text.lower().split("e")[0].replace(".", "").lstrip("0")
        return Digits(value, place, isinstance(node, CutNumber), False, max(len(digits), 1))
    if isinstance(node, Percent):
        found = digits_of(node.of)
        return None if found is None else _scaled(found, 0.01)
    power = _power_of_ten(node)
    if power is not None:
        return Digits(10.0**power, 10.0**power, False, True)
    if isinstance(node, Binary) and node.operator in (Operator.TIMES, Operator.BESIDE):
        power = _power_of_ten(node.right)
        found = digits_of(node.left)
        if power is not None and found is not None and not found.is_power:
            # By the decimal text, so that 1.5·10⁻⁴ is the same float64 as 0.00015.
            return _scaled_by_ten(found, power)
    return None


def _scaled(digits: Digits, by: float) -> Digits:
    return Digits(digits.value * by, digits.place * by, digits.is_cut, False, digits.significant)


def _scaled_by_ten(digits: Digits, power: int) -> Digits:
    value = (
        float(f"{digits.value!r}e{power}")
        if "e" not in repr(digits.value)
        else (digits.value * 10.0**power)
    )
    return Digits(value, digits.place * 10.0**power, digits.is_cut, False, digits.significant)


def _power_of_ten(node: Expression) -> int | None:
    if not (isinstance(node, Binary) and node.operator is Operator.POWER):
        return None
    if not (isinstance(node.left, Number) and node.left.text == "10"):
        return None
    exponent, sign = node.right, 1
    if isinstance(exponent, Negative):
        exponent, sign = exponent.of, -1
    if isinstance(exponent, Number) and exponent.text.isdigit() and len(exponent.text) <= 3:
        return sign * int(exponent.text)
    return None


def is_numeric(node: Expression) -> bool:
    """Whether an expression is made of numbers alone."""
    return not any(isinstance(part, Name | Derivative | Series) for part in node.walk()) and not (
        any(isinstance(part, Call) and part.function.startswith("f") for part in node.walk())
    )


def spelled(value: float, place: float, extra: int = 0) -> str:
    """A value to a place, and a few digits further if asked; a whole number as one."""
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e15:
        return str(int(value))
    decimals = max(0, -math.floor(math.log10(place) + 1e-9)) + extra if place > 0 else 6
    significant = decimals + (math.floor(math.log10(abs(value))) if value else 0) + 1
    if abs(value) < 1e-3 or decimals > 12:
        return f"{value:.{min(max(significant - 1, 0), 12)}e}"
    return f"{value:.{decimals}f}"


def spelled_like(band: Band, display: Display) -> str:
    """The right value with as many digits as were claimed, and two more where these agree."""
    fitted = display.fits(band)
    if fitted is None:
        return spelled_band(band)
    if fitted.is_number:
        return _beside(band.mid, fitted.digits)
    rows = [
        [_beside(float(band.mid[i, j]), digits) for j, digits in enumerate(row)]
        for i, row in enumerate(fitted.rows)
    ]
    return _brackets(rows)


def _beside(value: float, digits: Digits) -> str:
    shown = spelled(value, digits.place)
    try:
        if abs(float(shown) - digits.value) < digits.place * 0.49:
            return spelled(value, digits.place, 2)
    except ValueError:
        return shown
    return shown


def spelled_band(band: Band) -> str:
    """A value to six digits."""
    if band.shape == ():
        return f"{band.mid:.6g}"
    return _brackets([[f"{float(x):.6g}" for x in row] for row in band.mid])


def _brackets(rows: list[list[str]]) -> str:
    if len(rows[0]) == 1:
        return f"({', '.join(row[0] for row in rows)})"
    if len(rows) == 1:
        return f"({', '.join(rows[0])})"
    return f"[{', '.join('[' + ', '.join(row) + ']' for row in rows)}]"
