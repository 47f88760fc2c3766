"""From a formula to its terms."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from thalweg._errors import FormulaError
from thalweg.symbolic._expression import (
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic._kinds import Kind
from thalweg.symbolic._setting import label_of
from thalweg.symbolic._spelling import FUNCTIONS
from thalweg.symbolic._terms import Algebra, Atom, Factor, Sum

KNOWN = frozenset({"sigmoid", "tanh", "exp", "log", "sin", "cos", "softplus", "relu", "abs"})
"""Functions of numbers whose derivatives the calculus of matrices knows."""


def terms_of(expression: Expression, kinds: Mapping[str, Kind], algebra: Algebra) -> Sum:
    """The formula in normal form.

    Raises:
        FormulaError: if a part has no place in a formula of vectors.
    """
    done: list[Sum] = []
    for node in expression.walk():
        size = len(node.parts)
        parts = done[len(done) - size :] if size else []
        del done[len(done) - size :]
        done.append(_of(node, parts, kinds, algebra))
    (found,) = done
    return found


def _of(node: Expression, parts: list[Sum], kinds: Mapping[str, Kind], algebra: Algebra) -> Sum:
    match node:
        case Number():
            return algebra.number(node.value)
        case Name(text):
            kind = kinds[text]
            if kind is Kind.NUMBER:
                return algebra.atom(Atom("name", text))
            return algebra.factor(Factor(text, False, kind is Kind.VECTOR))
        case Negative():
            return algebra.scaled(-1, parts[0])
        case Transpose():
            return algebra.transposed(parts[0])
        case Call(function):
            return _called(node, function, parts, algebra)
        case Binary(operator):
            return _combined(node, operator, parts[0], parts[1], algebra)
    raise FormulaError(f"{label_of(node).text} has no place in a formula of vectors")


def _called(node: Expression, function: str, parts: list[Sum], algebra: Algebra) -> Sum:
    (a, *rest) = parts
    if function == "norm":
        square = algebra.product(algebra.transposed(a), a)
        return algebra.power(square, Fraction(1, 2))
    if function == "sqrt":
        return algebra.power(_number(a, node), Fraction(1, 2))
    if function == "transpose":
        return algebra.transposed(a)
    if function == "dot":
        return algebra.product(algebra.transposed(a), rest[0])
    if function == "outer":
        return algebra.product(a, algebra.transposed(rest[0]))
    if function == "E":
        if a.kind is Kind.NUMBER:
            return algebra.atom(Atom("mean", of=a))
        is_vector = a.kind is not Kind.MATRIX
        if a.kind is Kind.ROW:
            return algebra.factor(Factor("", True, True, algebra.transposed(a)))
        return algebra.factor(Factor("", False, is_vector, a))
    stem = function.rstrip("'")
    if (stem in FUNCTIONS and stem not in KNOWN) or len(parts) > 1:
        raise FormulaError(
            f"{function} of a vector formula is not derived; known are {', '.join(sorted(KNOWN))}, "
            f"and functions that are not specified, such as g"
        )
    return algebra.atom(Atom("call", function, of=_number(a, node)))


def _combined(node: Expression, operator: Operator, a: Sum, b: Sum, algebra: Algebra) -> Sum:
    match operator:
        case Operator.PLUS:
            return algebra.add(a, b)
        case Operator.MINUS:
            return algebra.add(a, algebra.scaled(-1, b))
        case Operator.OVER:
            if b.kind is Kind.ROW:
                raise FormulaError(
                    f"{label_of(node).text}: what is divided by a product stands before brackets; "
                    f"write … / (w^T w)"
                )
            return algebra.product(a, algebra.power(_number(b, node), Fraction(-1)))
        case Operator.POWER:
            exponent = b.number
            if exponent is None:
                raise FormulaError(
                    f"the exponent in {label_of(node).text} has to be a number, in a formula of "
                    f"vectors"
                )
            return algebra.power(_number(a, node), exponent)
        case Operator.ELEMENTWISE:
            raise FormulaError(
                f"{label_of(node).text}: products of entries are not derived; write it with "
                f"matrices"
            )
    return algebra.product(a, b)


def _number(a: Sum, node: Expression) -> Sum:
    if a.kind is not Kind.NUMBER:
        raise FormulaError(
            f"{label_of(node).text}: a {a.kind.value} stands where a number is wanted; write a "
            f"scalar product such as w^T w"
        )
    return a
