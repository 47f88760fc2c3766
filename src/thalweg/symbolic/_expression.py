"""Expression: a small computation as a tree of plain values, bounded in depth and size."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction
from functools import cached_property

from thalweg._errors import FormulaError

MAX_DEPTH = 200
"""Levels of an expression: what walks down one by recursion stays within Python's stack."""

MAX_SIZE = 20_000
"""Nodes of an expression, each place of a shared part counted: a matrix of 140 × 140."""

MAX_DIGITS = 100
MAX_FLOAT = Fraction(sys.float_info.max)
MAX_EXPONENT = 400
"""Of a number as typed; float64 ends at 308."""

_NUMBER = re.compile(r"(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d+))?")


@dataclass(frozen=True)
class Expression:
    """A node of an expression; its parts are expressions.

    Raises:
        FormulaError: when one is made that has more than 200 levels or 20,000 nodes.
    """

    depth: int = field(init=False, compare=False, repr=False)
    size: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        depth = 1 + max((part.depth for part in self.parts), default=0)
        size = 1 + sum(part.size for part in self.parts)
        if depth > MAX_DEPTH:
            raise FormulaError(
                f"the formula is nested more than {MAX_DEPTH} levels deep; give its parts names, "
                f"each on a line of its own"
            )
        if size > MAX_SIZE:
            raise FormulaError(
                f"the formula has more than {MAX_SIZE:,} parts; thalweg writes out small "
                f"computations, so make it smaller"
            )
        object.__setattr__(self, "depth", depth)
        object.__setattr__(self, "size", size)

    @property
    def parts(self) -> tuple[Expression, ...]:
        """What it is made of, from left to right."""
        return ()

    def walk(self) -> Iterator[Expression]:
        """Every node, parts before what they make up; needs no stack of Python's."""
        waiting: list[tuple[Expression, bool]] = [(self, False)]
        while waiting:
            node, is_open = waiting.pop()
            if is_open:
                yield node
            else:
                waiting.append((node, True))
                waiting.extend((part, False) for part in reversed(node.parts))

    @property
    def names(self) -> frozenset[str]:
        """The names in it, those of functions left out."""
        return frozenset(node.text for node in self.walk() if isinstance(node, Name))


@dataclass(frozen=True)
class Number(Expression):
    """A number with its digits as typed.

    Args:
        text: digits, a decimal point, an exponent: "0.50", "6.1e-6".

    Raises:
        FormulaError: if the text is no such number, or beyond 100 digits or 1e±400.
    """

    text: str

    def __post_init__(self) -> None:
        found = _NUMBER.fullmatch(self.text)
        if found is None or not (found[1] or found[2]):
            raise FormulaError(f"{self.text!r} is no number; write it as 0.5, 3 or 6.1e-6")
        if len(found[1]) + len(found[2] or "") > MAX_DIGITS:
            raise FormulaError(
                f"the number {self.text[:12]}… has more than {MAX_DIGITS} digits; 17 are all that "
                f"float64 keeps"
            )
        if len(found[3] or "") > 5 or abs(int(found[3] or 0)) > MAX_EXPONENT:
            raise FormulaError(
                f"the number {self.text[:24]} is beyond 1e±{MAX_EXPONENT}; float64 ends at 1e±308"
            )
        if self.value > MAX_FLOAT:
            raise FormulaError(f"the number {self.text[:24]} is beyond float64, 1.8e308")
        super().__post_init__()

    @cached_property
    def value(self) -> Fraction:
        """Exactly what is written."""
        return Fraction(self.text)

    @cached_property
    def place(self) -> Fraction:
        """What one more in the last digit adds: 1/100 for "0.50", 10⁻⁷ for "6.1e-6"."""
        found = _NUMBER.fullmatch(self.text)
        assert found is not None, "checked when it was made"
        return Fraction(10) ** (int(found[3] or 0) - len(found[2] or ""))


@dataclass(frozen=True)
class Name(Expression):
    """A quantity by its name.

    Args:
        text: in the one spelling that `normalised` gives.
    """

    text: str


class Operator(StrEnum):
    """What stands between two expressions."""

    PLUS = "+"
    MINUS = "-"
    TIMES = "*"
    OVER = "/"
    POWER = "^"
    MATMUL = "@"
    ELEMENTWISE = "⊙"
    BESIDE = " "
    """Nothing: a product as written on paper, of matrices where both sides are no scalars."""


@dataclass(frozen=True)
class Binary(Expression):
    """Two expressions with an operator between them.

    Args:
        operator: between them.
        left: before it.
        right: after it.
    """

    operator: Operator
    left: Expression
    right: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """Left and right."""
        return (self.left, self.right)


@dataclass(frozen=True)
class Negative(Expression):
    """−x.

    Args:
        of: x.
    """

    of: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """Its x."""
        return (self.of,)


@dataclass(frozen=True)
class Transpose(Expression):
    """xᵀ; of a vector, which stands for a column, a row.

    Args:
        of: x.
    """

    of: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """Its x."""
        return (self.of,)


@dataclass(frozen=True)
class Call(Expression):
    """A function of its arguments.

    Args:
        function: its one spelling, see `FUNCTIONS`, or a name that nobody defined; with ' for a
            derivative.
        args: the arguments.
    """

    function: str
    args: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The arguments."""
        return self.args


@dataclass(frozen=True)
class Array(Expression):
    """A vector of its items, or, where they are arrays themselves, the matrix with these rows.

    Args:
        items: one at least.

    Raises:
        FormulaError: if it is empty, or some items are rows and others not, or of other lengths.
    """

    items: tuple[Expression, ...]

    def __post_init__(self) -> None:
        if not self.items:
            raise FormulaError("a vector needs one number at least, as in [1]")
        lengths = {len(i.items) if isinstance(i, Array) else None for i in self.items}
        if len(lengths) > 1:
            said = " and ".join("a number" if n is None else f"a row of {n}" for n in lengths)
            raise FormulaError(
                f"the rows of a matrix differ: {said}; write rows of one length, as in "
                f"[[1, 2], [3, 4]]"
            )
        if any(isinstance(j, Array) for i in self.items if isinstance(i, Array) for j in i.items):
            raise FormulaError("brackets are nested three deep; a matrix is [[1, 2], [3, 4]]")
        super().__post_init__()

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The items."""
        return self.items

    @property
    def shape(self) -> tuple[int, ...]:
        """(n,) of a vector, (rows, columns) of a matrix."""
        first = self.items[0]
        return (len(self.items), *(first.shape if isinstance(first, Array) else ()))
