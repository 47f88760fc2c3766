"""A formula's value by torch, so that autograd can be asked: the oracle of every derivation."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

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

ELEMENTARY: dict[str, Callable[..., Tensor]] = {
    "sigmoid": torch.sigmoid, "tanh": torch.tanh, "relu": torch.relu, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "abs": torch.abs, "sin": torch.sin, "cos": torch.cos,
    "tan": torch.tan, "sinh": torch.sinh, "cosh": torch.cosh, "softplus": F.softplus,
    "silu": F.silu, "gelu": F.gelu, "max": torch.maximum, "min": torch.minimum,
    "squared_error": lambda a, b: (a - b) ** 2, "mse": lambda a, b: (a - b) ** 2,
    "half_squared_error": lambda a, b: (a - b) ** 2 / 2,
    "binary_cross_entropy": lambda a, b: -b * torch.log(a) - (1 - b) * torch.log(1 - a),
    "leaky_relu": lambda x, a: torch.where(x > 0, x, a * x),
}  # fmt: skip
"""Functions of numbers that a derivation knows."""


def stand_in(t: Tensor, order: int = 0) -> Tensor:
    """A smooth function in the place of a g that nobody specified: sin t + t³/6 + eᵗ/2."""
    turned = (torch.sin(t), torch.cos(t), -torch.sin(t), -torch.cos(t))[order % 4]
    cubic = (t**3 / 6, t**2 / 2, t, torch.ones_like(t))[order] if order < 4 else 0 * t
    return turned + cubic + torch.exp(t) / 2


def value_of(
    expression: Expression,
    values: Mapping[str, Tensor],
    samples: tuple[Mapping[str, Tensor], ...] = ({},),
) -> Tensor:
    """The value of a formula; vectors are columns (n, 1).

    Args:
        expression: any.
        values: of its names.
        samples: over which E[…] takes the mean: values of the names that are random.

    Raises:
        FormulaError: if it holds a function that is not known here.
    """
    runs = [_run(expression, {**values, **sample}, ()) for sample in samples]
    if any(isinstance(node, Call) and node.function == "E" for node in expression.walk()):
        # Everything outside of E is the same in all runs; inside, E is replaced by the mean.
        means: dict[Expression, Tensor] = {}
        for node in expression.walk():
            if isinstance(node, Call) and node.function == "E":
                each = [
                    _run(node.args[0], {**values, **sample}, tuple(means.items()))
                    for sample in samples
                ]
                means[node] = torch.stack(each).mean(0)
        return _run(expression, {**values, **samples[0]}, tuple(means.items()))
    return runs[0]


def _run(
    expression: Expression,
    values: Mapping[str, Tensor],
    means: tuple[tuple[Expression, Tensor], ...],
) -> Tensor:
    known = dict(means)
    done: list[Tensor] = []
    for node in expression.walk():
        size = len(node.parts)
        parts = done[len(done) - size :] if size else []
        del done[len(done) - size :]
        done.append(known[node] if node in known else _value(node, parts, values))
    (found,) = done
    return found


def _value(node: Expression, parts: list[Tensor], values: Mapping[str, Tensor]) -> Tensor:
    match node:
        case Number():
            return torch.tensor(float(node.value), dtype=torch.float64)
        case Name(text):
            if text in values:
                return values[text]
            constant = {"pi": torch.pi, "e": torch.e}.get(text)
            if constant is None:
                raise FormulaError(f"{text} has no value")
            return torch.tensor(constant, dtype=torch.float64)
        case Negative():
            return -parts[0]
        case Transpose():
            return parts[0].T if parts[0].ndim else parts[0]
        case Call(function):
            return _called(function, parts)
        case Binary(operator):
            return _combined(operator, *parts)
    raise FormulaError(f"{type(node).__name__} has no place in a formula that is derived")


def _combined(operator: Operator, a: Tensor, b: Tensor) -> Tensor:
    match operator:
        case Operator.PLUS:
            return a + b
        case Operator.MINUS:
            return a - b
        case Operator.OVER:
            return a / b
        case Operator.POWER:
            # Of a fixed exponent torch knows the derivatives of any order, at 0 too.
            return torch.pow(a, b) if b.requires_grad else torch.pow(a, float(b))
        case Operator.ELEMENTWISE:
            return a * b
    if a.ndim and b.ndim:
        product = a @ b
        return product.reshape(()) if product.numel() == 1 else product
    return a * b


def _called(function: str, parts: list[Tensor]) -> Tensor:
    stem = function.rstrip("'")
    if function == "norm":
        # Of a square root, whose derivatives of any order autograd knows.
        return (parts[0] * parts[0]).sum().sqrt()
    if function == "E":
        return parts[0]
    if function == "dot":
        return (parts[0] * parts[1]).sum()
    if function == "outer":
        return parts[0] @ parts[1].T
    if function == "transpose":
        return parts[0].T
    if function == "leaky_relu" and len(parts) == 1:
        parts = [parts[0], torch.tensor(0.01, dtype=torch.float64)]
    if function in ELEMENTARY:
        return ELEMENTARY[function](*parts)
    if len(parts) == 1:
        return stand_in(parts[0], len(function) - len(stem))
    raise FormulaError(
        f"{function}(…) is not derived; functions of one number are, and {', '.join(ELEMENTARY)}"
    )
