"""Written: what mathematics on paper has and a program has not, as nodes of an expression."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.symbolic._expression import Expression, Name, Number


@dataclass(frozen=True)
class CutNumber(Number):
    """0.333…, whose last digit is cut or rounded."""


@dataclass(frozen=True)
class Percent(Expression):
    """5 %.

    Args:
        of: the 5.
    """

    of: Expression

    @property
    def parts(self) -> tuple[Expression, ...]:
        """Its number."""
        return (self.of,)


@dataclass(frozen=True)
class Mixed(Expression):
    r"""2½, or 2\frac{1}{2}, which may be a product as well.

    Args:
        whole: the 2.
        fraction: the ½.
        is_sure: whether it can be nothing but a sum.
    """

    whole: Expression
    fraction: Expression
    is_sure: bool = True

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The whole number and the fraction."""
        return (self.whole, self.fraction)


@dataclass(frozen=True)
class Derivative(Expression):
    """∂L/∂w, ∇L, d²f/dx².

    Args:
        of: what is derived: a name, or a formula in brackets.
        by: the names it is derived by, one for each order; none where ∇ says nothing.
        order: how often.
    """

    of: Expression
    by: tuple[Name, ...]
    order: int = 1

    @property
    def parts(self) -> tuple[Expression, ...]:
        """What is derived."""
        return (self.of,)


@dataclass(frozen=True)
class Series(Expression):
    """Σᵢ or Πᵢ of a term.

    Args:
        index: the letter that runs.
        first: where from; None where only the letter is written.
        last: up to where; None where only the letter is written.
        term: what is summed up or multiplied.
        is_product: Π.
    """

    index: str
    first: Expression | None
    last: Expression | None
    term: Expression
    is_product: bool = False

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The bounds that are there, and the term."""
        bounds = tuple(bound for bound in (self.first, self.last) if bound is not None)
        return (*bounds, self.term)


@dataclass(frozen=True)
class Entry(Expression):
    """(Wx)₁, an entry of what stands in brackets.

    Args:
        of: a vector or a matrix.
        places: from 1.
    """

    of: Expression
    places: tuple[int, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """What it is taken from."""
        return (self.of,)


@dataclass(frozen=True)
class At(Expression):
    """f(x)|ₓ₌₂.

    Args:
        of: the formula.
        letters: what is given a value.
        values: the values.
    """

    of: Expression
    letters: tuple[str, ...]
    values: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The formula and the values."""
        return (self.of, *self.values)


@dataclass(frozen=True)
class Cases(Expression):
    """One of several formulas, by which condition holds.

    Args:
        values: the formulas.
        conditions: of each its indicator, 1 where it holds; one less where the last is otherwise.
    """

    values: tuple[Expression, ...]
    conditions: tuple[Expression, ...]

    @property
    def parts(self) -> tuple[Expression, ...]:
        """The formulas and the conditions."""
        return (*self.values, *self.conditions)
