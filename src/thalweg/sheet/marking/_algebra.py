"""Algebra: sums, products, powers and inverses, as paper means them, in one of two fields."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

from thalweg.sheet.marking._band import UnknownValueError
from thalweg.sheet.marking._fields import Field
from thalweg.symbolic._expression import Expression, Negative, Number

V = TypeVar("V")


@dataclass(frozen=True)
class Reading:
    """What a product of vectors and a logarithm mean, where paper leaves it open.

    Args:
        is_elementwise: vectors of one shape side by side are multiplied entry by entry.
        is_decimal: log is log₁₀.
        is_product: 2½ is 2 · ½, not 2 + ½.
    """

    is_elementwise: bool = False
    is_decimal: bool = False
    is_product: bool = False


class Algebra(Generic[V]):
    """Computes with numbers, vectors and matrices.

    Args:
        field: of their entries.
        reading: of what is ambiguous.

    Attributes:
        was_open: whether another reading would have made a difference.
    """

    def __init__(self, field: Field[V], reading: Reading) -> None:
        self.field = field
        self.reading = reading
        self.was_open = False

    def sum(self, a: V, b: V) -> V:
        """A + B; a number is added to every entry; vectors lie or stand."""
        return self.field.add(*self.fitted(a, b))

    def elementwise(self, a: V, b: V) -> V:
        """A ⊙ B."""
        return self.field.multiply(*self.fitted(a, b))

    def fitted(self, a: V, b: V) -> tuple[V, V]:
        """Both, the second laid down or stood up where that is what fits."""
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

    def inverse(self, a: V) -> V:
        """A⁻¹ by cofactors, up to three rows: what is done by hand."""
        n = self.field.shape(a)[0]
        if n > 3:
            raise UnknownValueError("an inverse of more than three rows")
        over = self.field.reciprocal(self.determinant(a))
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
        return self.determinant(self.field.stack(rows))

    def determinant(self, a: V) -> V:
        """det A, up to four rows."""
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

    def broadcast(self, a: V, like: V) -> V:
        """A number as a matrix of the shape of another."""
        shape = self.field.shape(like)
        if self.field.shape(a) == () and shape != ():
            return self.field.stack([[a] * shape[1] for _ in range(shape[0])])
        return a

    def entries(self, a: V) -> Iterator[V]:
        """Every entry, row by row."""
        shape = self.field.shape(a)
        if shape == ():
            yield a
            return
        for i in range(shape[0]):
            for j in range(shape[1]):
                yield self.field.entry(a, i, j)

    def power(self, base: V, exponent: V, written: Expression) -> V:
        """Aⁿ: of a matrix A⁻¹ or A A, of a vector its square, or entry by entry.

        Args:
            base: A.
            exponent: n.
            written: n as it stands on the page.
        """
        shape = self.field.shape(base)
        if shape == ():
            return self.field.power(base, exponent)
        if isinstance(written, Negative) and isinstance(written.of, Number):
            if written.of.text == "1" and shape[0] == shape[1]:
                return self.inverse(base)
        is_square = isinstance(written, Number) and written.text == "2"
        self.was_open = True
        if is_square and not self.reading.is_elementwise and 1 in shape:
            return self.product(base, base)
        if is_square and not self.reading.is_elementwise and shape[0] == shape[1]:
            return self.field.matmul(base, base)
        return self.field.power(base, exponent)


def _shown(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) if shape else "1"
