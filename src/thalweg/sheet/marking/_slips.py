"""Slips: which common error turns what is right into what stands on the page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from thalweg._errors import FormulaError
from thalweg.sheet.marking._algebra import Reading
from thalweg.sheet.marking._band import Band, UnknownValueError
from thalweg.sheet.marking._digits import Digits, Display, digits_of, display_of, is_numeric
from thalweg.sheet.marking._mutations import mutations_of
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._step import Slip
from thalweg.sheet.marking._values import Values
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
from thalweg.symbolic.paper import Derivative

_ACTIVATIONS = ("sigmoid", "tanh", "relu", "leaky_relu")
_PRODUCTS = (Operator.TIMES, Operator.BESIDE, Operator.MATMUL, Operator.ELEMENTWISE)


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


def slip_of(case: Case) -> Slip:
    """The likely slip, by trying one explanation after the other; arithmetic where none fits."""
    for explain in (
        _by_copy,
        _by_shape,
        _by_sign,
        _by_rounding,
        _by_own_slope,
        _by_mutation,
        _by_slope,
        _by_point,
        _by_factor,
        _by_term,
        _by_entry_sign,
    ):
        found = explain(case)
        if found is not None:
            return found
    return Slip.ARITHMETIC


def _pairs(case: Case) -> Iterator[tuple[Any, Any, Any]]:
    """Claimed and right as arrays of one shape, with what one digit is worth."""
    for claimed in case.claimed:
        for right in case.right:
            c, r = np.atleast_2d(claimed.mid), np.atleast_2d(right.mid)
            if c.shape != r.shape and c.shape == r.shape[::-1] and 1 in c.shape:
                r = r.T
            if c.shape == r.shape:
                yield c, r, _places(case, c)


def _places(case: Case, c: Any) -> Any:
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


def _fits(c: Any, r: Any, place: Any, slack: float = 0.51) -> bool:
    return bool(np.all(np.abs(c - r) <= slack * place + 1e-12 * np.abs(c)))


def _is_telling(c: Any, place: Any) -> bool:
    """Whether the digits say enough to tell one explanation from another."""
    return bool(np.any(np.abs(c) > 3 * place))


def _by_shape(case: Case) -> Slip | None:
    shapes = [right.shape for right in case.right]
    for claimed in case.claimed:
        for right in case.right:
            if claimed.shape == () or 1 in claimed.shape or claimed.shape != right.shape[::-1]:
                continue
            place = _places(case, claimed.mid)
            is_square = claimed.shape == right.shape
            if not is_square or (
                _fits(claimed.mid, right.mid.T, place, 0.6)
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


def _by_sign(case: Case) -> Slip | None:
    for c, r, place in _pairs(case):
        if _fits(c, -r, place) and _is_telling(c, place):
            return Slip.SIGN
    return None


def _by_entry_sign(case: Case) -> Slip | None:
    for c, r, place in _pairs(case):
        if _fits(np.abs(c), np.abs(r), place) and _is_telling(c, place):
            return Slip.SIGN
    return None


def _by_rounding(case: Case) -> Slip | None:
    if case.display is None:
        return None
    for c, r, place in _pairs(case):
        wrong = np.abs(c - r) > 0.51 * place
        # Of whole numbers nobody rounds the last digit.
        is_near = (np.abs(c - r) < 2.6 * place) & (place < 1) & (np.abs(c) > 3 * place)
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
    return found


def _by_point(case: Case) -> Slip | None:
    if case.display is None:
        return None
    for c, r, place in _pairs(case):
        for power in (-4, -3, -2, -1, 1, 2, 3, 4):
            scale = 10.0**power
            if _fits(c, r * scale, np.maximum(place, place * scale)) and _is_telling(c, place):
                return Slip.POINT
    return None


def _by_copy(case: Case) -> Slip | None:
    """A formula whose letters were replaced by numbers: which of them is another?"""
    if case.display is not None or not is_numeric(case.node):
        return None
    for formula in reversed(case.formulas):
        if is_numeric(formula) and isinstance(formula, Number):
            continue
        pairs = paired(formula, case.node)
        if pairs is None:
            continue
        wrong = [
            (value, digits)
            for name, number in pairs
            for value, digits in _entries(_value(case, name), number)
            if not digits.is_rounding_of(value)
        ]
        if len(wrong) == 1:
            value, digits = wrong[0]
            negated = Band(-value.high, -value.mid, -value.low)
            return Slip.SIGN if digits.is_rounding_of(negated) else Slip.COPIED
        if len(wrong) > 1:
            return None
    return None


def _entries(value: Band | None, number: Expression) -> Iterator[tuple[Band, Digits]]:
    """A name's value beside the digits that stand in its place, entry by entry."""
    display = display_of(number)
    fitted = None if value is None or display is None else display.fits(value)
    if value is None or fitted is None:
        return
    if fitted.is_number:
        yield value, fitted.digits
        return
    for i, row in enumerate(fitted.rows):
        for j, digits in enumerate(row):
            yield value.entry(i, j), digits


def paired(formula: Expression, numeric: Expression) -> list[tuple[Expression, Expression]] | None:
    """Names of a formula and the numbers that stand in their place; None if they do not match."""
    if isinstance(formula, Name | Derivative) or (
        isinstance(formula, Call) and not _is_builtin(formula)
    ):
        is_copy = digits_of(numeric) is not None or isinstance(numeric, Array)
        return [(formula, numeric)] if is_copy else None
    if isinstance(formula, Number):
        return [] if formula == numeric or _equal_numbers(formula, numeric) else None
    if isinstance(formula, Binary) and isinstance(numeric, Binary):
        same = formula.operator == numeric.operator or (
            formula.operator in _PRODUCTS and numeric.operator in _PRODUCTS
        )
        if not same:
            return None
        left, right = paired(formula.left, numeric.left), paired(formula.right, numeric.right)
        return None if left is None or right is None else left + right
    if isinstance(formula, Negative) and isinstance(numeric, Negative):
        return paired(formula.of, numeric.of)
    if isinstance(formula, Transpose) and isinstance(numeric, Transpose):
        return paired(formula.of, numeric.of)
    if isinstance(formula, Call) and isinstance(numeric, Call):
        if formula.function != numeric.function or len(formula.args) != len(numeric.args):
            return None
        found: list[tuple[Expression, Expression]] = []
        for one, other in zip(formula.args, numeric.args, strict=True):
            part = paired(one, other)
            if part is None:
                return None
            found += part
        return found
    return None


def _is_builtin(node: Call) -> bool:
    return node.function in (
        "sigmoid",
        "tanh",
        "relu",
        "exp",
        "log",
        "ln",
        "max",
        "sqrt",
        "leaky_relu",
    )


def _equal_numbers(a: Number, b: Expression) -> bool:
    return isinstance(b, Number) and a.value == b.value


def _value(case: Case, node: Expression) -> Band | None:
    try:
        return case.values.value(node, View.TRUE, bound=case.bound)
    except (UnknownValueError, FormulaError):
        return None


def _values(case: Case, node: Expression) -> list[Band]:
    found = []
    for reading in (Reading(), Reading(is_elementwise=True)):
        for view in (View.SHOWN, View.TRUE):
            try:
                found.append(case.values.value(node, view, reading, bound=case.bound))
            except (UnknownValueError, FormulaError):
                continue
    return found


def _by_mutation(case: Case) -> Slip | None:
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
            for band in _values(case, changed):
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
        place = np.maximum((2e-4 if wide else 1e-9) * np.abs(b), 0 if wide else _places(case, b))
        width = np.atleast_2d(np.maximum(band.high - band.mid, band.mid - band.low))
        if width.shape != b.shape:
            width = width.T
        if bool(np.all(np.abs(a - b) <= 0.51 * place + width + 1e-12)):
            return True
    return False


def _by_own_slope(case: Case) -> Slip | None:
    """What stands for σ′(z) is something else that is often written for it."""
    asked = next(
        (
            node
            for node in (*reversed(case.formulas), case.target)
            if isinstance(node, Call) and node.function.endswith("'") and len(node.args) == 1
        ),
        None,
    )
    if asked is None or asked.function[:-1] not in _ACTIVATIONS:
        return None
    z = _value(case, asked.args[0])
    h = _value(case, Call(asked.function[:-1], asked.args))
    if z is None or h is None:
        return None
    shown = case.values.ledger.activated.get(Call(asked.function[:-1], asked.args))
    quantity = case.values.ledger.quantities.get(shown) if shown else None
    values = [h.mid, *([quantity.shown.mid] if quantity and quantity.shown else [])]
    for c, _, place in _pairs(case):
        for value in values:
            for wrong in _wrong_slopes(asked.function[:-1], np.asarray(value), np.asarray(z.mid)):
                shaped = np.atleast_2d(wrong)
                shaped = shaped if shaped.shape == c.shape else shaped.T
                if shaped.shape == c.shape and _fits(c, shaped, place, 1.01):
                    return Slip.ACTIVATION
    return None


def _by_slope(case: Case) -> Slip | None:
    """The ratio of what stands there to what is right is that of a wrong slope to the right one."""
    for c, r, place in _pairs(case):
        for right, wrongs in _slopes(case):
            if np.any(right == 0):
                continue
            for wrong in wrongs:
                scaled = _scaled(r, wrong / right)
                if scaled is not None and _fits(c, scaled, place, 0.75) and _is_telling(c, place):
                    return Slip.DROPPED_FACTOR if np.all(wrong == 1) else Slip.ACTIVATION
    return None


def _scaled(r: Any, ratio: Any) -> Any | None:
    ratio = np.atleast_2d(ratio)
    for factor in (ratio, ratio.T):
        try:
            scaled = r * factor
        except ValueError:
            continue
        if scaled.shape == r.shape:
            return scaled
    return None


def _slopes(case: Case) -> Iterator[tuple[Any, list[Any]]]:
    """For every activation on the page its slope, and what is written for it by mistake."""
    count = 0
    for quantity in reversed(list(case.values.ledger.quantities.values())):
        formula = quantity.formula
        if not (isinstance(formula, Call) and len(formula.args) >= 1 and quantity.true is not None):
            continue
        if formula.function not in _ACTIVATIONS:
            continue
        z = _value(case, formula.args[0])
        if z is None or z.shape != quantity.true.shape:
            continue
        count += 1
        if count > 12:
            return
        h, z_mid = np.asarray(quantity.true.mid), np.asarray(z.mid)
        right = _right_slope(formula.function, h, z_mid)
        yield right, [*_wrong_slopes(formula.function, h, z_mid), np.ones_like(h), -right]


def _right_slope(function: str, h: Any, z: Any) -> Any:
    if function == "sigmoid":
        return h * (1 - h)
    if function == "tanh":
        return 1 - np.tanh(z) ** 2
    if function == "relu":
        return np.where(z > 0, 1.0, 0.0)
    return np.where(z > 0, 1.0, np.where(z != 0, h / np.where(z == 0, 1, z), 1))


def _wrong_slopes(function: str, h: Any, z: Any) -> list[Any]:
    """What is written by mistake for the slope of an activation with the value h at z."""
    others = [_right_slope(name, h, z) for name in ("tanh", "relu") if name != function]
    return [
        *others, _logistic_slope(z), h, 1 - h, 1 - h**2, h * (1 - h), h * (1 + h), 1 + h**2,
        h**2, z, z * (1 - z), _logistic_slope(h), 1 - np.tanh(h) ** 2, 1 - z**2, (1 - h) ** 2,
        1 - 2 * h,
    ]  # fmt: skip


def _logistic_slope(z: Any) -> Any:
    e = np.exp(-np.abs(z))
    return e / (1 + e) ** 2


def _factors_of(node: Expression) -> Iterator[Expression]:
    if isinstance(node, Binary) and node.operator in _PRODUCTS:
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


def _by_factor(case: Case) -> Slip | None:
    candidates: list[Any] = [2.0, 0.5]
    for formula in case.formulas:
        for factor in _factors_of(formula):
            candidates += [band.mid for band in _values(case, factor)]
    if case.display is None or isinstance(case.target, Derivative):
        quantities = list(case.values.ledger.quantities.values())[-60:]
        candidates += [q.true.mid for q in quantities if q.true is not None]
    for c, r, place in _pairs(case):
        if not _is_telling(c, place):
            continue
        for factor in candidates:
            array = np.asarray(factor, dtype=float)
            if np.any(array == 0) or np.all(np.abs(np.abs(array) - 1) < 1e-9):
                continue
            scaled = _scaled(r, 1 / array)
            if scaled is not None and _fits(c, scaled, place, 0.75):
                return Slip.DROPPED_FACTOR
    return None


def _by_term(case: Case) -> Slip | None:
    candidates: list[Any] = []
    for formula in case.formulas:
        for part in formula.walk():
            if isinstance(part, Binary) and part.operator in (Operator.PLUS, Operator.MINUS):
                for side in (part.left, part.right):
                    candidates += [band.mid for band in _values(case, side)]
    if isinstance(case.target, Name) and case.display is None:
        quantities = list(case.values.ledger.quantities.values())[-60:]
        candidates += [q.true.mid for q in quantities if q.true is not None and q.is_given]
    for c, r, place in _pairs(case):
        for term in candidates:
            array = np.atleast_2d(np.asarray(term, dtype=float))
            if np.all(array == 0):
                continue
            for shaped in (array, array.T):
                if shaped.shape in ((1, 1), r.shape) and (
                    _fits(c, r - shaped, place) or _fits(c, r + shaped, place)
                ):
                    return Slip.DROPPED_TERM
    return None
