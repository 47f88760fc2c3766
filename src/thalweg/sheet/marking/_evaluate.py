"""Evaluation: the value of an expression on paper, in one of two fields."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np

from thalweg.sheet.marking._band import UnknownValueError
from thalweg.sheet.marking._digits import Digits, digits_of
from thalweg.sheet.marking._fields import Field
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
from thalweg.symbolic.paper import At, Derivative, Entry, Percent, Series

V = TypeVar("V")

MAX_TERMS = 1000
"""Of a sum; 1,000,000 terms are no work by hand."""


@dataclass(frozen=True)
class Reading:
    """What a product of vectors and a logarithm mean, where paper leaves it open.

    Args:
        is_elementwise: vectors of one shape side by side are multiplied entry by entry.
        is_decimal: log is log₁₀.
    """

    is_elementwise: bool = False
    is_decimal: bool = False


@runtime_checkable
class Source(Protocol[V]):
    """Where names, digits and derivatives get their values."""

    def name(self, text: str) -> V: ...
    def number(self, digits: Digits) -> V: ...
    def call(self, function: str, args: tuple[V, ...]) -> V: ...
    def activated(self, node: Call) -> V | None: ...
    def derivative(self, node: Derivative) -> V: ...
    def spend(self) -> None: ...


@dataclass
class Evaluator(Generic[V]):
    """Computes expressions.

    Args:
        field: what is computed with.
        source: of all that is no operation.
        reading: of what is ambiguous.

    Raises:
        UnknownValueError: by `value`, where there is none.
    """

    field: Field[V]
    source: Source[V]
    reading: Reading = dataclasses.field(default_factory=Reading)
    _running: dict[str, int] = dataclasses.field(default_factory=dict)
    _bound: dict[str, V] = dataclasses.field(default_factory=dict)
    was_open: bool = False
    """Whether another reading would have made a difference."""

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
        if isinstance(node, Series):
            return self._series(node)
        if isinstance(node, Entry):
            return self._entry(node)
        if isinstance(node, At):
            return self._at(node)
        raise UnknownValueError(f"{type(node).__name__} has no value")

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
            return self._power(node)
        if node.operator is Operator.TIMES and isinstance(node.left, Number):
            digits = digits_of(node)
            if digits is not None:
                return self.source.number(digits)
        left, right = self.value(node.left), self.value(node.right)
        if node.operator is Operator.PLUS:
            return self.sum(left, right)
        if node.operator is Operator.MINUS:
            return self.sum(left, self.field.negative(right))
        if node.operator is Operator.OVER:
            return self.elementwise(left, self.field.reciprocal(right))
        if node.operator is Operator.ELEMENTWISE:
            return self.elementwise(left, right)
        return self.product(left, right, node.operator is Operator.MATMUL)

    def sum(self, a: V, b: V) -> V:
        """A + B; a number is added to every entry; vectors lie or stand."""
        return self.field.add(*self._fitted(a, b))

    def elementwise(self, a: V, b: V) -> V:
        """A ⊙ B."""
        return self.field.multiply(*self._fitted(a, b))

    def _fitted(self, a: V, b: V) -> tuple[V, V]:
        one, other = self.field.shape(a), self.field.shape(b)
        if one == other or one == () or other == ():
            return a, b
        if one == other[::-1] and 1 in one:
            return a, self.field.transpose(b)
        raise UnknownValueError(f"shapes {_shown(one)} and {_shown(other)} do not fit")

    def product(self, a: V, b: V, is_matmul: bool = False) -> V:
        """A B, as paper means it: of numbers, matrices, or two vectors."""
        one, other = self.field.shape(a), self.field.shape(b)
        if one == () or other == ():
            return self.field.multiply(a, b)
        if one == other and not is_matmul:
            self.was_open = True
            if self.reading.is_elementwise:
                return self.field.multiply(a, b)
        if one[1] == other[0]:
            return self.field.matmul(a, b)
        if one == other and one[1] == 1:
            return self.field.matmul(self.field.transpose(a), b)
        if one == other and one[0] == 1:
            return self.field.matmul(a, self.field.transpose(b))
        if one[1] == 1 and one[0] == other[0]:
            return self.field.matmul(self.field.transpose(a), b)
        if other[0] == 1 and one[1] == other[1]:
            return self.field.matmul(a, self.field.transpose(b))
        raise UnknownValueError(f"shapes {_shown(one)} and {_shown(other)} do not fit")

    def _power(self, node: Binary) -> V:
        base = self.value(node.left)
        shape = self.field.shape(base)
        exponent = self.value(node.right)
        if shape == ():
            return self.field.power(base, exponent)
        if isinstance(node.right, Negative) and isinstance(node.right.of, Number):
            if node.right.of.text == "1" and shape[0] == shape[1]:
                return self._inverse(base)
        is_square = isinstance(node.right, Number) and node.right.text == "2"
        self.was_open = True
        if is_square and not self.reading.is_elementwise and 1 in shape:
            return self.product(base, base)
        if is_square and not self.reading.is_elementwise and shape[0] == shape[1]:
            return self.field.matmul(base, base)
        return self.field.power(base, exponent)

    def _inverse(self, a: V) -> V:
        """A⁻¹ by cofactors, up to three rows: what is done by hand."""
        n = self.field.shape(a)[0]
        if n > 3:
            raise UnknownValueError("an inverse of more than three rows")
        over = self.field.reciprocal(self._determinant(a))
        rows: list[list[V]] = []
        for i in range(n):
            row = []
            for j in range(n):
                minor = self._minor(a, j, i)
                row.append(minor if (i + j) % 2 == 0 else self.field.negative(minor))
            rows.append(row)
        return self.field.multiply(self.field.stack(rows), over)

    def _minor(self, a: V, row: int, column: int) -> V:
        n = self.field.shape(a)[0]
        if n == 1:
            return self.field.constant(1.0)
        rows = [
            [self.field.entry(a, i, j) for j in range(n) if j != column]
            for i in range(n)
            if i != row
        ]
        return self._determinant(self.field.stack(rows))

    def _determinant(self, a: V) -> V:
        shape = self.field.shape(a)
        if shape == ():
            return a
        n = shape[0]
        if n != shape[1] or n > 4:
            raise UnknownValueError("a determinant that is not computed")
        if n == 1:
            return self.field.entry(a, 0, 0)
        found = self.field.constant(0.0)
        for j in range(n):
            term = self.field.multiply(self.field.entry(a, 0, j), self._minor(a, 0, j))
            found = self.field.add(found, term if j % 2 == 0 else self.field.negative(term))
        return found

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

    # Functions

    def _call(self, node: Call) -> V:
        name = node.function
        args = tuple(self.value(arg) for arg in node.args)
        if name == "log":
            self.was_open = True
            name = "log10" if self.reading.is_decimal else name
        if name == "leaky_relu'" and len(args) in (1, 2):
            return self._leak(args[0], args[1] if len(args) == 2 else None)
        own = getattr(self, f"_of_{name}", None)
        if own is not None:
            found: V | None = own(*args) if len(args) in _ARITIES.get(name, (len(args),)) else None
            if found is None:
                raise UnknownValueError(f"{name} of {len(args)} arguments")
            return found
        if name.startswith("indicator") and len(args) == 2:
            return self._indicator(name[-1], *args)
        try:
            return self.source.call(name, args)
        except UnknownValueError:
            if len(args) != 1:
                raise
        found = self.field.function(name, args[0])
        if name in ("sigmoid'", "tanh'"):
            # A slope is as well computed from the value of the activation, h(1 − h).
            h = self.source.activated(Call(name[:-1], node.args))
            if h is not None and self.field.shape(h) == self.field.shape(found):
                return self.field.hull(found, self._slope_from(name, h))
        return found

    def _slope_from(self, name: str, h: V) -> V:
        one = self.field.constant(1.0)
        if name == "tanh'":
            return self.field.add(one, self.field.negative(self.field.multiply(h, h)))
        return self.field.multiply(h, self.field.add(one, self.field.negative(h)))

    def _indicator(self, relation: str, a: V, b: V) -> V:
        if relation in "<≤":
            a, b = b, a
        a, b = self._fitted(a, self._broadcast(b, a))
        return self.field.greater(a, b, relation in "<>")

    def _broadcast(self, a: V, like: V) -> V:
        shape = self.field.shape(like)
        if self.field.shape(a) == () and shape != ():
            return self.field.stack([[a] * shape[1] for _ in range(shape[0])])
        return a

    def _entries(self, a: V) -> Iterator[V]:
        shape = self.field.shape(a)
        if shape == ():
            yield a
            return
        for i in range(shape[0]):
            for j in range(shape[1]):
                yield self.field.entry(a, i, j)

    def _of_sum(self, a: V) -> V:
        found = self.field.constant(0.0)
        for item in self._entries(a):
            found = self.field.add(found, item)
        return found

    def _of_mean(self, a: V) -> V:
        shape = self.field.shape(a)
        count = 1 if shape == () else shape[0] * shape[1]
        return self.field.multiply(self._of_sum(a), self.field.constant(1 / count))

    def _of_norm(self, a: V) -> V:
        return self.field.power(self._of_sum(self.field.multiply(a, a)), self.field.constant(0.5))

    def _of_abs(self, a: V) -> V:
        shape = self.field.shape(a)
        if shape != () and 1 in shape:
            return self._of_norm(a)
        return self.field.function("abs", a)

    def _of_dot(self, a: V, b: V) -> V:
        return self._of_sum(self.elementwise(a, b))

    def _of_outer(self, a: V, b: V) -> V:
        if self.field.shape(a) == () or self.field.shape(b) == ():
            return self.field.multiply(a, b)
        self.was_open = True
        if self.reading.is_elementwise:
            return self.elementwise(a, b)
        column = a if self.field.shape(a)[1] == 1 else self.field.transpose(a)
        row = b if self.field.shape(b)[0] == 1 else self.field.transpose(b)
        return self.field.matmul(column, row)

    def _of_transpose(self, a: V) -> V:
        return self.field.transpose(a)

    def _of_det(self, a: V) -> V:
        return self._determinant(a)

    def _of_tr(self, a: V) -> V:
        shape = self.field.shape(a)
        if shape == () or shape[0] != shape[1]:
            raise UnknownValueError("the trace of what is no square")
        found = self.field.constant(0.0)
        for i in range(shape[0]):
            found = self.field.add(found, self.field.entry(a, i, i))
        return found

    def _of_diag(self, *args: V) -> V:
        items = list(self._entries(args[0])) if len(args) == 1 else list(args)
        zero = self.field.constant(0.0)
        return self.field.stack(
            [[x if i == j else zero for j in range(len(items))] for i, x in enumerate(items)]
        )

    def _of_max(self, *args: V) -> V:
        return self._extreme(args)

    def _of_min(self, *args: V) -> V:
        negated = tuple(self.field.negative(arg) for arg in args)
        return self.field.negative(self._extreme(negated))

    def _extreme(self, args: tuple[V, ...]) -> V:
        if len(args) == 1:
            args = tuple(self._entries(args[0]))
        found = args[0]
        for arg in args[1:]:
            a, b = self._broadcast(found, arg), self._broadcast(arg, found)
            found = self.field.maximum(*self._fitted(a, b))
        return found

    def _of_leaky_relu(self, a: V, slope: V | None = None) -> V:
        return self.field.multiply(a, self._leak(a, slope))

    def _leak(self, a: V, slope: V | None) -> V:
        if slope is None:
            try:
                slope = self.source.name("alpha")
            except UnknownValueError:
                slope = self.field.constant(0.01)
        is_on = self.field.function("step", a)
        one = self.field.constant(1.0)
        is_off = self.field.add(one, self.field.negative(is_on))
        return self.field.add(is_on, self.field.multiply(slope, is_off))

    def _of_squared_error(self, a: V, b: V) -> V:
        gap = self.sum(a, self.field.negative(b))
        return self._of_sum(self.field.multiply(gap, gap))

    def _of_half_squared_error(self, a: V, b: V) -> V:
        return self.field.multiply(self.field.constant(0.5), self._of_squared_error(a, b))

    def _of_mse(self, a: V, b: V) -> V:
        gap = self.sum(a, self.field.negative(b))
        return self._of_mean(self.field.multiply(gap, gap))

    def _of_cross_entropy(self, p: V, y: V) -> V:
        terms = self.elementwise(y, self.field.function("log", p))
        return self.field.negative(self._of_sum(terms))

    def _of_softmax_cross_entropy(self, z: V, y: V) -> V:
        return self._of_cross_entropy(self.field.function("softmax", z), y)

    def _of_binary_cross_entropy(self, p: V, y: V) -> V:
        one = self.field.constant(1.0)
        rest = [self.sum(one, self.field.negative(part)) for part in (p, y)]
        on = self.elementwise(y, self.field.function("log", p))
        off = self.elementwise(rest[1], self.field.function("log", rest[0]))
        return self.field.negative(self._of_mean(self.sum(on, off)))

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
                    self.field.multiply(found, term) if node.is_product else self.sum(found, term)
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


_ARITIES = {
    "sum": (1,), "mean": (1,), "norm": (1,), "abs": (1,), "dot": (2,), "outer": (2,),
    "transpose": (1,), "det": (1,), "tr": (1,), "leaky_relu": (1, 2), "squared_error": (2,),
    "half_squared_error": (2,), "mse": (2,), "cross_entropy": (2,),
    "softmax_cross_entropy": (2,), "binary_cross_entropy": (2,),
}  # fmt: skip


def _digits(node: Number) -> Digits:
    found = digits_of(node)
    assert found is not None, "a number has digits"
    return found


def _mentions(node: Expression, index: str) -> bool:
    return any(
        isinstance(part, Name) and any(index in piece for piece in re.split("[_^]", part.text)[1:])
        for part in node.walk()
    )


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) if shape else "1"
