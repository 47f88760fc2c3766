"""Kinds: which names of a formula are numbers, vectors and matrices, by how they are used."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from thalweg._errors import FormulaError
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
from thalweg.symbolic._setting import label_of

_PRODUCTS = (Operator.BESIDE, Operator.TIMES, Operator.MATMUL)
_SUMS = (Operator.PLUS, Operator.MINUS)


class Kind(Enum):
    """What an expression is."""

    NUMBER = "number"
    VECTOR = "vector"
    ROW = "row"
    MATRIX = "matrix"


def is_of_numbers(expression: Expression) -> bool:
    """Whether nothing in it asks for vectors: no transpose, norm or product of matrices."""
    for node in expression.walk():
        if isinstance(node, Transpose | Array):
            return False
        if isinstance(node, Call) and node.function in ("norm", "dot", "outer", "transpose"):
            return False
        if isinstance(node, Binary) and node.operator is Operator.MATMUL:
            return False
    return True


def kinds_of(expression: Expression) -> Mapping[str, Kind]:
    """The kind of each name.

    Capital letters are matrices; a name that is transposed, normed, or multiplied with a matrix is
    a vector, and so is what is added to one; the others are numbers.

    Raises:
        FormulaError: if the sizes cannot fit.
    """
    kinds: dict[str, Kind] = {}
    for name in expression.names:
        if name[0].isupper() and name[1:2] in ("", "_"):
            kinds[name] = Kind.MATRIX
    for _ in range(len(expression.names) + 2):
        before = dict(kinds)
        _kind(expression, kinds)
        if kinds == before:
            break
    for name in expression.names:
        kinds.setdefault(name, Kind.NUMBER)
    return kinds


def _kind(expression: Expression, kinds: dict[str, Kind]) -> Kind | None:
    """The kind of the whole; what is learnt of names on the way is written down."""
    done: list[tuple[Expression, Kind | None]] = []
    for node in expression.walk():
        size = len(node.parts)
        parts = done[len(done) - size :] if size else []
        del done[len(done) - size :]
        done.append((node, _of(node, parts, kinds)))
    return done[0][1]


def _of(
    node: Expression, parts: list[tuple[Expression, Kind | None]], kinds: dict[str, Kind]
) -> Kind | None:
    match node:
        case Number():
            return Kind.NUMBER
        case Name(text):
            return kinds.get(text)
        case Negative():
            return parts[0][1]
        case Transpose():
            _learn(parts[0], Kind.VECTOR, kinds)
            kind = parts[0][1] or Kind.VECTOR
            return {Kind.VECTOR: Kind.ROW, Kind.ROW: Kind.VECTOR}.get(kind, kind)
        case Call(function):
            if function == "norm":
                _learn(parts[0], Kind.VECTOR, kinds)
                return Kind.NUMBER
            if function in ("dot", "outer"):
                for part in parts:
                    _learn(part, Kind.VECTOR, kinds)
                return Kind.NUMBER if function == "dot" else Kind.MATRIX
            return parts[0][1] if function == "E" else Kind.NUMBER
        case Binary(operator):
            if operator in _SUMS:
                return _sum(parts, kinds)
            if operator in _PRODUCTS:
                return _product(parts, kinds)
            return parts[0][1] if operator is Operator.OVER else Kind.NUMBER
    return None


def _sum(parts: list[tuple[Expression, Kind | None]], kinds: dict[str, Kind]) -> Kind | None:
    (_, a), (_, b) = parts
    if a is None or b is None:
        known = a or b
        if known is not None and known is not Kind.NUMBER:
            for part in parts:
                _learn(part, known, kinds)
        return known
    if a is not b:
        left, right = (label_of(part).text for part, _ in parts)
        raise FormulaError(
            f"{left} is a {a.value} and {right} a {b.value}, which cannot be added; transpose one "
            f"with ^T, or write the product out"
        )
    return a


def _product(parts: list[tuple[Expression, Kind | None]], kinds: dict[str, Kind]) -> Kind | None:
    (_, a), (_, b) = parts
    if b is None and a in (Kind.ROW, Kind.MATRIX):
        _learn(parts[1], Kind.VECTOR, kinds)
        b = Kind.VECTOR
    if a is Kind.NUMBER or a is None:
        # A name alone before a vector is a number: λ w, η A.
        return b
    if b is Kind.NUMBER or b is None:
        return a
    found = {
        (Kind.ROW, Kind.VECTOR): Kind.NUMBER, (Kind.ROW, Kind.MATRIX): Kind.ROW,
        (Kind.MATRIX, Kind.VECTOR): Kind.VECTOR, (Kind.MATRIX, Kind.MATRIX): Kind.MATRIX,
        (Kind.VECTOR, Kind.ROW): Kind.MATRIX,
    }.get((a, b))  # fmt: skip
    if found is None:
        left, right = (label_of(part).text for part, _ in parts)
        raise FormulaError(
            f"{left} is a {a.value} and {right} a {b.value}, which have no product; transpose one "
            f"with ^T"
        )
    return found


def _learn(part: tuple[Expression, Kind | None], kind: Kind, kinds: dict[str, Kind]) -> None:
    """Writes a kind down where the part is a name of which nothing is known, or a sum of such."""
    waiting, known = [part[0]], part[1]
    if known is not None:
        return
    while waiting:
        node = waiting.pop()
        if isinstance(node, Name):
            kinds.setdefault(node.text, kind)
        elif isinstance(node, Negative) or (isinstance(node, Binary) and node.operator in _SUMS):
            waiting += node.parts
        elif isinstance(node, Binary) and node.operator in _PRODUCTS:
            waiting.append(node.right)
