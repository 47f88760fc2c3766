"""Copies: the numbers that stand in place of a formula's letters, and which of them is another."""

from __future__ import annotations

from collections.abc import Iterator

from thalweg.sheet.marking._band import Band
from thalweg.sheet.marking._case import (
    Case,
    value_of,
)
from thalweg.sheet.marking._digits import Digits, digits_of, display_of, is_numeric
from thalweg.sheet.marking._step import Slip
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

PRODUCTS = (Operator.TIMES, Operator.BESIDE, Operator.MATMUL, Operator.ELEMENTWISE)


def by_copy(case: Case) -> Slip | None:
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
            for value, digits in _entries(value_of(case, name), number)
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
            formula.operator in PRODUCTS and numeric.operator in PRODUCTS
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
