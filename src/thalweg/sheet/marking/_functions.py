"""Functions: what is computed of numbers, vectors and matrices by name, losses included."""

from __future__ import annotations

import math
from typing import Generic, TypeVar

import numpy as np

from thalweg.sheet.marking._algebra import Algebra
from thalweg.sheet.marking._band import UnknownValueError
from thalweg.sheet.marking._source import Source
from thalweg.symbolic._expression import Call

V = TypeVar("V")

_ARITIES = {
    "sum": (1,), "mean": (1,), "norm": (1,), "abs": (1,), "dot": (2,), "outer": (2,),
    "factorial": (1,), "transpose": (1,), "det": (1,), "tr": (1,), "leaky_relu": (1, 2),
    "squared_error": (2,), "half_squared_error": (2,), "mse": (2,), "cross_entropy": (2,),
    "softmax_cross_entropy": (2,), "binary_cross_entropy": (2,),
}  # fmt: skip


MAX_FACTORIAL = 170
"""Of which float64 holds the factorial."""


class Functions(Generic[V]):
    """Computes functions; those that a page defines are asked of its source.

    Args:
        algebra: what is computed with.
        source: of all that is no operation.
    """

    def __init__(self, algebra: Algebra[V], source: Source[V]) -> None:
        self._algebra = algebra
        self._field = algebra.field
        self._source = source

    def call(self, node: Call, args: tuple[V, ...]) -> V:
        """The value of a function.

        Args:
            node: the function, as it stands on the page.
            args: what it is taken of.

        Raises:
            UnknownValueError: if there is none.
        """
        name = node.function
        if name == "log":
            self._algebra.was_open = True
            name = "log10" if self._algebra.reading.is_decimal else name
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
            return self._source.call(name, args)
        except UnknownValueError:
            if len(args) != 1:
                raise
        found = self._field.function(name, args[0])
        if name in ("sigmoid'", "tanh'"):
            # A slope is as well computed from the value of the activation, h(1 − h).
            h = self._source.activated(Call(name[:-1], node.args))
            if h is not None and self._field.shape(h) == self._field.shape(found):
                return self._field.hull(found, self._slope_from(name, h))
        return found

    def _slope_from(self, name: str, h: V) -> V:
        one = self._field.constant(1.0)
        if name == "tanh'":
            return self._field.add(one, self._field.negative(self._field.multiply(h, h)))
        return self._field.multiply(h, self._field.add(one, self._field.negative(h)))

    def _indicator(self, relation: str, a: V, b: V) -> V:
        if relation in "<≤":
            a, b = b, a
        a, b = self._algebra.fitted(a, self._algebra.broadcast(b, a))
        return self._field.greater(a, b, relation in "<>")

    def _of_sum(self, a: V) -> V:
        found = self._field.constant(0.0)
        for item in self._algebra.entries(a):
            found = self._field.add(found, item)
        return found

    def _of_mean(self, a: V) -> V:
        shape = self._field.shape(a)
        count = 1 if shape == () else shape[0] * shape[1]
        return self._field.multiply(self._of_sum(a), self._field.constant(1 / count))

    def _of_norm(self, a: V) -> V:
        total = self._of_sum(self._field.multiply(a, a))
        return self._field.power(total, self._field.constant(0.5))

    def _of_abs(self, a: V) -> V:
        shape = self._field.shape(a)
        if shape != () and 1 in shape:
            return self._of_norm(a)
        if shape != () and shape[0] == shape[1]:
            # |A| is a determinant, or the matrix of Newton's step without a saddle.
            self._algebra.was_open = True
            is_matrix = self._algebra.reading.is_elementwise
            return self._absolute(a) if is_matrix else self._algebra.determinant(a)
        return self._field.function("abs", a)

    def _absolute(self, a: V) -> V:
        """|A| = V |Λ| Vᵀ of a symmetric matrix, where it is diagonal or has two rows.

        With λ₁ > 0 > λ₂ it is (A² − λ₁λ₂ I) / (λ₁ − λ₂), by Cayley and Hamilton.
        """
        field, algebra = self._field, self._algebra
        shown = np.real(np.asarray(getattr(a, "mid", a)))
        if not np.any(shown - np.diag(np.diag(shown))):
            return field.function("abs", a)
        if shown.shape[0] != 2 or not np.allclose(shown, shown.T, rtol=1e-12, atol=0.0):
            raise UnknownValueError("|A| of a matrix that is not symmetric, or of more than 2 rows")
        zero = field.constant(0.0)
        det, trace = algebra.determinant(a), self._of_tr(a)
        is_definite = field.is_true(field.greater(det, zero, False))
        if is_definite is None:
            raise UnknownValueError("a matrix that may be singular")
        if is_definite:
            is_positive = field.is_true(field.greater(trace, zero, False))
            return a if is_positive else field.negative(a)
        gap = field.add(field.multiply(trace, trace), field.multiply(field.constant(-4.0), det))
        minus_det = field.negative(det)
        shift = field.stack([[minus_det, zero], [zero, minus_det]])
        over = field.reciprocal(field.power(gap, field.constant(0.5)))
        return field.multiply(field.add(field.matmul(a, a), shift), over)

    def _of_dot(self, a: V, b: V) -> V:
        return self._of_sum(self._algebra.elementwise(a, b))

    def _of_outer(self, a: V, b: V) -> V:
        if self._field.shape(a) == () or self._field.shape(b) == ():
            return self._field.multiply(a, b)
        self._algebra.was_open = True
        if self._algebra.reading.is_elementwise:
            return self._algebra.elementwise(a, b)
        column = a if self._field.shape(a)[1] == 1 else self._field.transpose(a)
        row = b if self._field.shape(b)[0] == 1 else self._field.transpose(b)
        return self._field.matmul(column, row)

    def _of_factorial(self, a: V) -> V:
        value = np.real(np.asarray(getattr(a, "mid", a)))
        if value.shape != () or not 0 <= value <= MAX_FACTORIAL or value != np.round(value):
            raise UnknownValueError("the factorial of what is no whole number, or too large")
        return self._field.constant(float(math.factorial(int(value))))

    def _of_transpose(self, a: V) -> V:
        return self._field.transpose(a)

    def _of_det(self, a: V) -> V:
        return self._algebra.determinant(a)

    def _of_tr(self, a: V) -> V:
        shape = self._field.shape(a)
        if shape == () or shape[0] != shape[1]:
            raise UnknownValueError("the trace of what is no square")
        found = self._field.constant(0.0)
        for i in range(shape[0]):
            found = self._field.add(found, self._field.entry(a, i, i))
        return found

    def _of_diag(self, *args: V) -> V:
        items = list(self._algebra.entries(args[0])) if len(args) == 1 else list(args)
        zero = self._field.constant(0.0)
        return self._field.stack(
            [[x if i == j else zero for j in range(len(items))] for i, x in enumerate(items)]
        )

    def _of_max(self, *args: V) -> V:
        return self._extreme(args)

    def _of_min(self, *args: V) -> V:
        negated = tuple(self._field.negative(arg) for arg in args)
        return self._field.negative(self._extreme(negated))

    def _extreme(self, args: tuple[V, ...]) -> V:
        if len(args) == 1:
            args = tuple(self._algebra.entries(args[0]))
        found = args[0]
        for arg in args[1:]:
            a, b = self._algebra.broadcast(found, arg), self._algebra.broadcast(arg, found)
            found = self._field.maximum(*self._algebra.fitted(a, b))
        return found

    def _of_leaky_relu(self, a: V, slope: V | None = None) -> V:
        return self._field.multiply(a, self._leak(a, slope))

    def _leak(self, a: V, slope: V | None) -> V:
        if slope is None:
            try:
                slope = self._source.name("alpha")
            except UnknownValueError:
                slope = self._field.constant(0.01)
        is_on = self._field.function("step", a)
        one = self._field.constant(1.0)
        is_off = self._field.add(one, self._field.negative(is_on))
        return self._field.add(is_on, self._field.multiply(slope, is_off))

    def _of_squared_error(self, a: V, b: V) -> V:
        gap = self._algebra.sum(a, self._field.negative(b))
        return self._of_sum(self._field.multiply(gap, gap))

    def _of_half_squared_error(self, a: V, b: V) -> V:
        return self._field.multiply(self._field.constant(0.5), self._of_squared_error(a, b))

    def _of_mse(self, a: V, b: V) -> V:
        gap = self._algebra.sum(a, self._field.negative(b))
        return self._of_mean(self._field.multiply(gap, gap))

    def _of_cross_entropy(self, p: V, y: V) -> V:
        terms = self._algebra.elementwise(y, self._field.function("log", p))
        return self._field.negative(self._of_sum(terms))

    def _of_softmax_cross_entropy(self, z: V, y: V) -> V:
        return self._of_cross_entropy(self._field.function("softmax", z), y)

    def _of_binary_cross_entropy(self, p: V, y: V) -> V:
        one = self._field.constant(1.0)
        rest = [self._algebra.sum(one, self._field.negative(part)) for part in (p, y)]
        on = self._algebra.elementwise(y, self._field.function("log", p))
        off = self._algebra.elementwise(rest[1], self._field.function("log", rest[0]))
        return self._field.negative(self._of_mean(self._algebra.sum(on, off)))
