"""Mutations: a formula as it would be without one common slip."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from thalweg._errors import FormulaError
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

MAX_PARTS = 60
"""Of a formula whose slip is looked for; longer ones are named arithmetic."""

_PRODUCTS = (Operator.TIMES, Operator.BESIDE, Operator.MATMUL, Operator.ELEMENTWISE)
_SLOPES = ("sigmoid", "tanh", "relu", "leaky_relu")


def mutations_of(node: Expression) -> Iterator[tuple[Slip, Expression]]:
    """The formula with one slip undone, or done: each with the name of the slip.

    Args:
        node: a formula of at most 60 parts; of a longer one there are none.
    """
    if node.size > MAX_PARTS:
        return
    for slip, change in _CHANGES:
        for changed in _everywhere(node, change):
            yield slip, changed


def _everywhere(
    node: Expression, change: Callable[[Expression], Iterator[Expression]]
) -> Iterator[Expression]:
    """The formula with one part changed, for each part that can be."""
    yield from change(node)
    for at, part in enumerate(node.parts):
        for changed in _everywhere(part, change):
            try:
                yield _with_part(node, at, changed)
            except FormulaError:
                continue


def _with_part(node: Expression, at: int, part: Expression) -> Expression:
    if isinstance(node, Binary):
        return replace(node, left=part) if at == 0 else replace(node, right=part)
    if isinstance(node, Negative | Transpose):
        return replace(node, of=part)
    if isinstance(node, Call):
        return Call(node.function, (*node.args[:at], part, *node.args[at + 1 :]))
    if isinstance(node, Array):
        return Array((*node.items[:at], part, *node.items[at + 1 :]))
    raise FormulaError("a part that is not changed")


def _signs(node: Expression) -> Iterator[Expression]:
    if isinstance(node, Negative):
        yield node.of
    elif isinstance(node, Binary) and node.operator is Operator.PLUS:
        yield Binary(Operator.MINUS, node.left, node.right)
    elif isinstance(node, Binary) and node.operator is Operator.MINUS:
        yield Binary(Operator.PLUS, node.left, node.right)
    elif isinstance(node, Call) and node.function == "exp":
        yield Call("exp", (Negative(node.args[0]),))


def _dropped_factors(node: Expression) -> Iterator[Expression]:
    if isinstance(node, Binary) and node.operator in _PRODUCTS:
        yield node.left
        yield node.right
    elif (isinstance(node, Binary) and node.operator is Operator.OVER) or (
        isinstance(node, Binary) and node.operator is Operator.POWER
    ):
        yield node.left


def _dropped_terms(node: Expression) -> Iterator[Expression]:
    if isinstance(node, Binary) and node.operator in (Operator.PLUS, Operator.MINUS):
        yield node.left
        yield node.right if node.operator is Operator.PLUS else Negative(node.right)


def _transpositions(node: Expression) -> Iterator[Expression]:
    if isinstance(node, Transpose):
        yield node.of
    elif isinstance(node, Name | Array):
        yield Transpose(node)
    elif isinstance(node, Binary) and node.operator in _PRODUCTS:
        left, right = node.left, node.right
        if isinstance(right, Transpose):
            yield Binary(node.operator, right.of, Transpose(left))


def _slopes(node: Expression) -> Iterator[Expression]:
    """Other things that are written for the derivative of an activation."""
    one = Number("1")
    if isinstance(node, Call) and node.function in tuple(f"{name}'" for name in _SLOPES):
        stem = node.function[:-1]
        yield Call(stem, node.args)
        for other in _SLOPES[:3]:
            if other != stem:
                yield Call(f"{other}'", node.args)
        return
    if isinstance(node, Call) and node.function in _SLOPES:
        yield Call(f"{node.function}'", node.args)
        return
    pair = _self_product(node)
    if pair is not None:
        h, operator = pair
        square = Binary(Operator.POWER, h, Number("2"))
        yield Binary(Operator.MINUS, one, square)
        yield h
        yield Binary(Operator.MINUS, one, h)
        yield Binary(operator, h, Binary(Operator.PLUS, one, h))
        yield square
        return
    h_squared = _one_minus_square(node)
    if h_squared is not None:
        yield Binary(Operator.TIMES, h_squared, Binary(Operator.MINUS, one, h_squared))
        yield Binary(Operator.MINUS, one, h_squared)
        yield Binary(Operator.PLUS, one, Binary(Operator.POWER, h_squared, Number("2")))
        yield h_squared


def _self_product(node: Expression) -> tuple[Expression, Operator] | None:
    """The h of h(1 − h)."""
    if not (isinstance(node, Binary) and node.operator in _PRODUCTS):
        return None
    right = node.right
    if (
        isinstance(right, Binary)
        and right.operator in (Operator.MINUS, Operator.PLUS)
        and isinstance(right.left, Number)
        and right.left.text == "1"
    ):
        if right.right == node.left:
            return node.left, node.operator
        if (
            isinstance(node.left, Binary)
            and node.left.operator in _PRODUCTS
            and node.left.right == right.right
        ):
            return None
    return None


def _one_minus_square(node: Expression) -> Expression | None:
    """The h of 1 − h²."""
    if not (
        isinstance(node, Binary)
        and node.operator is Operator.MINUS
        and isinstance(node.left, Number)
        and node.left.text == "1"
        and isinstance(node.right, Binary)
        and node.right.operator is Operator.POWER
    ):
        return None
    power = node.right.right
    if isinstance(power, Number) and power.text == "2":
        return node.right.left
    return None


_CHANGES: tuple[tuple[Slip, Callable[[Expression], Iterator[Expression]]], ...] = (
    (Slip.SIGN, _signs),
    (Slip.ACTIVATION, _slopes),
    (Slip.TRANSPOSED, _transpositions),
    (Slip.DROPPED_FACTOR, _dropped_factors),
    (Slip.DROPPED_TERM, _dropped_terms),
)
