"""Evaluation: the value of an expression on paper, node by node."""

from __future__ import annotations

import math
import re
from typing import Generic, TypeVar

import numpy as np

from thalweg.sheet.marking._algebra import Algebra, Reading
from thalweg.sheet.marking._band import UnknownValueError
from thalweg.sheet.marking._digits import Digits, digits_of
from thalweg.sheet.marking._fields import Field
from thalweg.sheet.marking._functions import Functions
from thalweg.sheet.marking._source import Source
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
from thalweg.symbolic.paper import At, Cases, Derivative, Entry, Mixed, Percent, Series

V = TypeVar("V")

IDENTITIES = frozenset(("I", "I_2", "I_3", "I_n", "E", "E_2", "E_3", "E_n", "Id", "id"))
"""Names of the identity matrix, where a page gives them no other meaning."""

MAX_TERMS = 1000
"""Of a sum; 1,000,000 terms are no work by hand."""


class Evaluator(Generic[V]):
    """Computes expressions.

    Args:
        field: what is computed with.
        source: of all that is no operation.
        reading: of what is ambiguous.

    Raises:
        UnknownValueError: by `value`, where there is none.
    """

    def __init__(self, field: Field[V], source: Source[V], reading: Reading | None = None) -> None:
        self.field = field
        self.source = source
        self.algebra: Algebra[V] = Algebra(field, reading or Reading())
        self._functions: Functions[V] = Functions(self.algebra, source)
        self._running: dict[str, int] = {}
        self._bound: dict[str, V] = {}

    @property
    def was_open(self) -> bool:
        """Whether another reading would have made a difference."""
        return self.algebra.was_open

    def value(self, node: Expression) -> V:
        """The value of an expression; a matrix of one entry is a number."""
        self.source.spend()
        found = self._value(node)
        if self.field.shape(found) == (1, 1):
            return self.field.entry(found, 0, 0)
        return found

    def _value(self, node: Expression) -> V:
        if isinstance(node, Number):
            return self.source.number(_digits(node))
        if isinstance(node, Name):
            return self._name(node.text)
        if isinstance(node, Negative):
            return self.field.negative(self.value(node.of))
        if isinstance(node, Binary):
            return self._binary(node)
        if isinstance(node, Call):
            return self._call(node)
        if isinstance(node, Array):
            return self._array(node)
        if isinstance(node, Transpose):
            # (2, 3)ᵀ in a line of text is how a column is written.
            is_column = isinstance(node.of, Array) and len(node.of.shape) == 1
            inner = self.value(node.of)
            return inner if is_column else self.field.transpose(inner)
        if isinstance(node, Derivative):
            return self._derivative(node)
        if isinstance(node, Percent):
            return self.field.multiply(self.value(node.of), self.field.constant(0.01))
        if isinstance(node, Mixed):
            return self._mixed(node)
        if isinstance(node, Series):
            return self._series(node)
        if isinstance(node, Entry):
            return self._entry(node)
        if isinstance(node, At):
            return self._at(node)
        if isinstance(node, Cases):
            return self._cases(node)
        raise UnknownValueError(f"{type(node).__name__} has no value")

    def _cases(self, node: Cases) -> V:
        """The formula whose condition surely holds, those above it surely not."""
        for condition, value in zip(node.conditions, node.values, strict=False):
            holds = self.field.is_true(self.value(condition))
            if holds is None:
                raise UnknownValueError("which case holds is not sure")
            if holds:
                return self.value(value)
        if len(node.values) == len(node.conditions):
            raise UnknownValueError("no case holds")
        return self.value(node.values[-1])

    def _mixed(self, node: Mixed) -> V:
        """2½."""
        parts = self.value(node.whole), self.value(node.fraction)
        if node.is_sure:
            return self.field.add(*parts)
        self.algebra.was_open = True
        is_product = self.algebra.reading.is_product
        return self.field.multiply(*parts) if is_product else self.field.add(*parts)

    # Names

    def _name(self, text: str) -> V:
        if text in self._bound:
            return self._bound[text]
        if text in self._running:
            return self.field.constant(float(self._running[text]))
        return self.source.name(self._with_running(text))

    def _with_running(self, text: str) -> str:
        """x_i as x_2, where i runs and is at 2."""
        if not self._running:
            return text
        parts = re.split(r"([_^])", text)
        for at in range(2, len(parts), 2):
            parts[at] = "".join(str(self._running.get(letter, letter)) for letter in parts[at])
        return "".join(parts)

    def _derivative(self, node: Derivative) -> V:
        if self._running and isinstance(node.of, Name):
            of = Name(self._with_running(node.of.text))
            by = tuple(Name(self._with_running(name.text)) for name in node.by)
            node = Derivative(of, by, node.order)
        return self.source.derivative(node)

    def _at(self, node: At) -> V:
        kept = dict(self._bound)
        for letter, value in zip(node.letters, node.values, strict=True):
            if not letter:
                raise UnknownValueError("what is replaced is not said")
            self._bound[letter] = self.value(value)
        try:
            if isinstance(node.of, Derivative):
                raise UnknownValueError("a derivative somewhere else")
            return self.value(node.of)
        finally:
            self._bound = kept

    # Operations

    def _binary(self, node: Binary) -> V:
        if node.operator is Operator.POWER:
            base = self.value(node.left)
            return self.algebra.power(base, self._exponent(node.right), node.right)
        if node.operator is Operator.TIMES and isinstance(node.left, Number):
            digits = digits_of(node)
            if digits is not None:
                return self.source.number(digits)
        shifted = self._shifted(node)
        if shifted is not None:
            return shifted
        left, right = self.value(node.left), self.value(node.right)
        if node.operator is Operator.PLUS:
            return self.algebra.sum(left, right)
        if node.operator is Operator.MINUS:
            return self.algebra.sum(left, self.field.negative(right))
        if node.operator is Operator.OVER:
            return self.algebra.elementwise(left, self.field.reciprocal(right))
        if node.operator is Operator.ELEMENTWISE:
            return self.algebra.elementwise(left, right)
        return self.algebra.product(left, right, node.operator is Operator.MATMUL)

    def _shifted(self, node: Binary) -> V | None:
        """A − λI, where I stands for nothing else on the page; None if it is none."""
        if node.operator not in (Operator.PLUS, Operator.MINUS):
            return None
        factors = [_factors_of_identity(side) for side in (node.left, node.right)]
        at = next((i for i, found in enumerate(factors) if found is not None), None)
        if at is None or self._is_known(_identity_in((node.left, node.right)[at])):
            return None
        matrix = self.value((node.left, node.right)[1 - at])
        shape = self.field.shape(matrix)
        if shape == () or shape[0] != shape[1]:
            raise UnknownValueError("an identity matrix of unknown size")
        scale = self.field.constant(1.0)
        for factor in factors[at] or ():
            scale = self.algebra.product(scale, self.value(factor))
        zero = self.field.constant(0.0)
        unit = self.field.stack(
            [[scale if i == j else zero for j in range(shape[0])] for i in range(shape[0])]
        )
        sides = [unit, matrix] if at == 0 else [matrix, unit]
        if node.operator is Operator.MINUS:
            sides[1] = self.field.negative(sides[1])
        return self.field.add(*sides)

    def _is_known(self, text: str) -> bool:
        try:
            self._name(text)
        except UnknownValueError:
            return False
        return True

    def _exponent(self, node: Expression) -> V:
        """n of xⁿ; a whole number is itself, not the copy of a result that is shown as 2."""
        digits = digits_of(node)
        if digits is not None and digits.place >= 1:
            return self.field.constant(digits.value)
        return self.value(node)

    def _array(self, node: Array) -> V:
        if len(node.shape) == 2:
            rows = [[self.value(cell) for cell in row.parts] for row in node.items]
        else:
            rows = [[self.value(item)] for item in node.items]
        return self.field.stack(rows)

    def _entry(self, node: Entry) -> V:
        return self.entry(self.value(node.of), node.places)

    def entry(self, a: V, places: tuple[int, ...]) -> V:
        """An entry, counted from 1."""
        shape = self.field.shape(a)
        if shape == ():
            raise UnknownValueError("an entry of a number")
        if len(places) == 1:
            if 1 not in shape:
                raise UnknownValueError("a matrix has entries of two places")
            at = (places[0] - 1, 0) if shape[1] == 1 else (0, places[0] - 1)
        else:
            at = (places[0] - 1, places[1] - 1)
        if not (0 <= at[0] < shape[0] and 0 <= at[1] < shape[1]):
            raise UnknownValueError("an entry that is not there")
        return self.field.entry(a, *at)

    def _call(self, node: Call) -> V:
        args = tuple(self.value(arg) for arg in node.args)
        return self._functions.call(node, args)

    # Sums

    def _series(self, node: Series) -> V:
        if not node.index or node.index in self._running:
            raise UnknownValueError("a sum whose index is not written")
        first = 1 if node.first is None else self._whole(node.first)
        last = None if node.last is None else self._whole(node.last)
        if last is not None and last - first >= MAX_TERMS:
            raise UnknownValueError(f"a sum of more than {MAX_TERMS} terms")
        found = self.field.constant(1.0 if node.is_product else 0.0)
        at = first
        try:
            while last is None or at <= last:
                self._running[node.index] = at
                try:
                    term = self.value(node.term)
                except UnknownValueError:
                    # Without an upper end the sum ends where there is no further term.
                    if last is not None or at == first or not _mentions(node.term, node.index):
                        raise
                    break
                found = (
                    self.field.multiply(found, term)
                    if node.is_product
                    else self.algebra.sum(found, term)
                )
                at += 1
                if at - first > MAX_TERMS:
                    raise UnknownValueError("a sum without end")
        finally:
            self._running.pop(node.index, None)
        return found

    def _whole(self, node: Expression) -> int:
        value = self.value(node)
        if self.field.shape(value) != ():
            raise UnknownValueError("a bound that is no number")
        mid = getattr(value, "mid", value)
        number = float(np.real(np.asarray(mid)))
        if not math.isfinite(number) or number != round(number) or abs(number) > 1e9:
            raise UnknownValueError("a bound that is no whole number")
        return int(number)


def _digits(node: Number) -> Digits:
    found = digits_of(node)
    assert found is not None, "a number has digits"
    return found


def _factors_of_identity(node: Expression) -> list[Expression] | None:
    """What stands before the I of λI; None if no I is a factor."""
    if isinstance(node, Name):
        return [] if node.text in IDENTITIES else None
    if isinstance(node, Negative):
        inner = _factors_of_identity(node.of)
        return None if inner is None else [Negative(Number("1")), *inner]
    if not isinstance(node, Binary) or node.operator not in (Operator.TIMES, Operator.BESIDE):
        return None
    for one, other in ((node.right, node.left), (node.left, node.right)):
        inner = _factors_of_identity(one)
        if inner is not None:
            return [other, *inner]
    return None


def _identity_in(node: Expression) -> str:
    return next(p.text for p in node.walk() if isinstance(p, Name) and p.text in IDENTITIES)


def _mentions(node: Expression, index: str) -> bool:
    return any(
        isinstance(part, Name) and any(index in piece for piece in re.split("[_^]", part.text)[1:])
        for part in node.walk()
    )
