"""A formula set again as it was understood, in text and in LaTeX."""

from __future__ import annotations

from dataclasses import dataclass

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
from thalweg.symbolic._label import Label

_SUM, _PRODUCT, _POWER, _ATOM = range(4)

_STRENGTH = {
    Operator.PLUS: _SUM, Operator.MINUS: _SUM, Operator.TIMES: _PRODUCT, Operator.OVER: _PRODUCT,
    Operator.MATMUL: _PRODUCT, Operator.ELEMENTWISE: _PRODUCT, Operator.BESIDE: _PRODUCT,
    Operator.POWER: _POWER,
}  # fmt: skip
_BETWEEN = {
    Operator.PLUS: (" + ", " + "), Operator.MINUS: (" − ", " - "), Operator.TIMES: ("·", r"\cdot "),
    Operator.MATMUL: (" ", r"\, "), Operator.ELEMENTWISE: (" ⊙ ", r" \odot "),
    Operator.BESIDE: (" ", r"\, "),
}  # fmt: skip
_FUNCTIONS = {
    "sigmoid": ("σ", r"\sigma"), "log": ("ln", r"\ln"), "relu": ("ReLU", r"\operatorname{ReLU}"),
    "E": ("E", r"\operatorname{E}"),
}  # fmt: skip
_KNOWN_TO_TEX = frozenset({"exp", "sin", "cos", "tan", "sinh", "cosh", "tanh", "max", "min"})
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


@dataclass(frozen=True)
class _Part:
    label: Label
    strength: int
    is_number: bool = False
    is_negative: bool = False


def label_of(expression: Expression) -> Label:
    """The expression, set.

    Args:
        expression: of any depth.

    Example:
        >>> from thalweg.symbolic import parse_expression
        >>> label_of(parse_expression("1/2 w^T A w + sigma(x)^2")).text
        '1/2 wᵀ A w + σ(x)²'
    """
    done: list[_Part] = []
    for node in expression.walk():
        size = len(node.parts)
        parts = done[len(done) - size :] if size else []
        del done[len(done) - size :]
        done.append(_set(node, parts))
    (found,) = done
    return found.label


def _set(node: Expression, parts: list[_Part]) -> _Part:
    match node:
        case Number(text):
            mantissa, _, exponent = text.lower().partition("e")
            latex = f"{mantissa} \\times 10^{{{int(exponent)}}}" if exponent else text
            return _Part(Label(text, latex), _PRODUCT if exponent else _ATOM, True)
        case Name(text):
            return _Part(Label.of_name(text), _ATOM)
        case Negative():
            inner = _held(parts[0], _PRODUCT)
            return _Part(Label(f"−{inner.text}", f"-{inner.latex}"), _SUM, is_negative=True)
        case Transpose():
            inner = _held(parts[0], _ATOM)
            return _Part(Label(f"{inner.text}ᵀ", f"{inner.latex}^{{\\top}}"), _POWER)
        case Array():
            text = ", ".join(part.label.text for part in parts)
            latex = r" \\ ".join(part.label.latex for part in parts)
            begin, end = r"\begin{pmatrix}", r"\end{pmatrix}"
            return _Part(Label(f"[{text}]", f"{begin} {latex} {end}"), _ATOM)
        case Call(function):
            return _call(function, parts)
        case Binary(operator):
            return _binary(operator, *parts)
    raise FormulaError(f"{type(node).__name__} cannot be set")


def _call(function: str, parts: list[_Part]) -> _Part:
    text = ", ".join(part.label.text for part in parts)
    latex = ", ".join(part.label.latex for part in parts)
    if function == "norm":
        return _Part(Label(f"‖{text}‖", f"\\lVert {latex} \\rVert"), _ATOM)
    if function == "abs":
        return _Part(Label(f"|{text}|", f"\\lvert {latex} \\rvert"), _ATOM)
    if function == "sqrt":
        return _Part(Label(f"√({text})", f"\\sqrt{{{latex}}}"), _ATOM)
    if function == "E":
        return _Part(Label(f"E[{text}]", f"\\operatorname{{E}}\\left[{latex}\\right]"), _ATOM)
    name, tex = name_of_function(function)
    return _Part(Label(f"{name}({text})", f"{tex}\\left({latex}\\right)"), _ATOM)


def name_of_function(function: str) -> tuple[str, str]:
    """A function's name in text and in LaTeX, with its primes."""
    stem = function.rstrip("'")
    primes = "'" * (len(function) - len(stem))
    if stem in _FUNCTIONS:
        text, latex = _FUNCTIONS[stem]
    elif stem in _KNOWN_TO_TEX:
        text, latex = stem, f"\\{stem}"
    else:
        label = Label.of_name(stem)
        text, latex = label.text, label.latex
    return text + primes, latex + primes


def _binary(operator: Operator, a: _Part, b: _Part) -> _Part:
    strength = _STRENGTH[operator]
    if operator is Operator.POWER:
        base, exponent = _held(a, _ATOM), b.label
        text = exponent.text
        if text.isdecimal():
            raised = text.translate(_RAISED)
        else:
            raised = f"^{text}" if b.strength == _ATOM and " " not in text else f"^({text})"
        return _Part(
            Label(f"{base.text}{raised}", f"{{{base.latex}}}^{{{exponent.latex}}}"), _POWER
        )
    if operator is Operator.OVER:
        left = a.label if a.is_negative else _held(a, _PRODUCT)
        right = _held(b, _POWER)
        latex = f"\\frac{{{a.label.latex}}}{{{b.label.latex}}}"
        return _Part(Label(f"{left.text}/{right.text}", latex), _PRODUCT)
    # A right side of the same strength was in brackets: a − (b − c).
    right = _held(b, strength + (operator is not Operator.PLUS))
    # −y x is (−y) x and −(y x), which are the same.
    left = a.label if a.is_negative and strength <= _PRODUCT else _held(a, strength)
    text, latex = _BETWEEN[operator]
    if operator is Operator.BESIDE and b.is_number:
        text, latex = _BETWEEN[Operator.TIMES]
    if operator is Operator.BESIDE and b.label.text.startswith("(") and a.is_number:
        text, latex = "", ""
    return _Part(
        Label(f"{left.text}{text}{right.text}", f"{left.latex}{latex}{right.latex}"), strength
    )


def _held(part: _Part, strength: int) -> Label:
    """In brackets where it binds less strongly than is needed."""
    if part.strength >= strength:
        return part.label
    return Label(f"({part.label.text})", f"\\left({part.label.latex}\\right)")
