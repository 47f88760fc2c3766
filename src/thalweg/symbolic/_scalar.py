"""Formulas of numbers as SymPy's: converted node by node, nothing typed is ever evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import sympy
from sympy.printing.latex import LatexPrinter
from sympy.printing.str import StrPrinter

from thalweg._errors import FormulaError
from thalweg.symbolic._expression import (
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
)
from thalweg.symbolic._label import Label
from thalweg.symbolic._setting import label_of, name_of_function
from thalweg.symbolic._spelling import FUNCTIONS
from thalweg.symbolic._written import latex_of_name, text_of_name

MAX_EXPONENT = 100
"""Of a number to a power: 9^9^9 has 370 million digits."""

MAX_OPERATIONS = 2_500
"""Of a derivative: beyond that nobody reads it, and the next one would take minutes."""


MAX_DEGREE = 16
"""Up to which a polynomial is multiplied out or factored, to see whether that is shorter."""

MAX_LETTERS = 1_500


class Sigmoid(sympy.Function):  # type: ignore[misc]
    """σ, whose derivative is σ (1 − σ) and stays so."""

    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        """½ at 0."""
        return sympy.Rational(1, 2) if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> Any:
        """σ (1 − σ)."""
        return self * (1 - self)

    def _eval_evalf(self, prec: int) -> Any:
        return (1 / (1 + sympy.exp(-self.args[0])))._eval_evalf(prec)


class Step(sympy.Function):  # type: ignore[misc]
    """1 above 0, 0 below; has no value at 0."""

    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Where the sign is known."""
        if x.is_zero:
            return sympy.nan
        return sympy.Integer(1) if x.is_positive else sympy.Integer(0) if x.is_negative else None

    def fdiff(self, argindex: int = 1) -> Any:
        """Flat on both sides."""
        return sympy.Integer(0)


class ReLU(sympy.Function):  # type: ignore[misc]
    """max(0, x)."""

    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Where the sign is known."""
        if x.is_nonpositive:
            return sympy.Integer(0)
        return x if x.is_positive else None

    def fdiff(self, argindex: int = 1) -> Any:
        """The step."""
        return Step(self.args[0])


class Sign(sympy.Function):  # type: ignore[misc]
    """±1; has no value at 0."""

    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Where the sign is known."""
        if x.is_zero:
            return sympy.nan
        return sympy.Integer(1) if x.is_positive else sympy.Integer(-1) if x.is_negative else None

    def fdiff(self, argindex: int = 1) -> Any:
        """Flat on both sides."""
        return sympy.Integer(0)


class Absolute(sympy.Function):  # type: ignore[misc]
    """|x|."""

    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        """Where the sign is known."""
        return sympy.Abs(x) if x.is_number else None

    def fdiff(self, argindex: int = 1) -> Any:
        """The sign."""
        return Sign(self.args[0])


def _gelu(x: Any) -> Any:
    return x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2


_TO_SYMPY: dict[str, Any] = {
    "sigmoid": Sigmoid, "tanh": sympy.tanh, "relu": ReLU, "exp": sympy.exp, "log": sympy.log,
    "sqrt": sympy.sqrt, "abs": Absolute, "sin": sympy.sin, "cos": sympy.cos, "tan": sympy.tan,
    "sinh": sympy.sinh, "cosh": sympy.cosh, "silu": lambda x: x * Sigmoid(x), "gelu": _gelu,
    "softplus": lambda x: sympy.log(1 + sympy.exp(x)), "max": lambda a, b: b + ReLU(a - b),
    "min": lambda a, b: a - ReLU(a - b), "mse": lambda a, b: (a - b) ** 2,
    "squared_error": lambda a, b: (a - b) ** 2,
    "half_squared_error": lambda a, b: (a - b) ** 2 / 2,
    "binary_cross_entropy": lambda a, b: -b * sympy.log(a) - (1 - b) * sympy.log(1 - a),
}  # fmt: skip


def sympy_of(expression: Expression) -> Any:
    """The formula as SymPy's expression of real symbols.

    Raises:
        FormulaError: if a function is not known, or a power is beyond all bounds.
    """
    done: list[Any] = []
    for node in expression.walk():
        size = len(node.parts)
        parts = done[len(done) - size :] if size else []
        del done[len(done) - size :]
        done.append(_of(node, parts))
    (found,) = done
    return found


def symbol(name: str) -> Any:
    """The symbol of a name."""
    return sympy.Symbol(name, real=True)


def _of(node: Expression, parts: list[Any]) -> Any:
    match node:
        case Number():
            return sympy.Rational(node.value.numerator, node.value.denominator)
        case Name(text):
            constant = {"pi": sympy.pi, "e": sympy.E}.get(text)
            return symbol(text) if constant is None else constant
        case Negative():
            return -parts[0]
        case Call(function):
            return _called(node, function, parts)
        case Binary(operator):
            return _combined(node, operator, *parts)
    raise FormulaError(f"{label_of(node).text} has no place in a formula of numbers")


def _called(node: Expression, function: str, parts: list[Any]) -> Any:
    if function == "leaky_relu":
        slope = parts[1] if len(parts) > 1 else sympy.Rational(1, 100)
        return ReLU(parts[0]) - slope * ReLU(-parts[0])
    if function in _TO_SYMPY:
        return _TO_SYMPY[function](*parts)
    stem = function.rstrip("'")
    if stem in FUNCTIONS or len(parts) != 1 or function == "E":
        raise FormulaError(
            f"{label_of(node).text} is not derived; functions of numbers are "
            f"{', '.join(sorted(_TO_SYMPY))}, and those that nobody specified, such as g(x)"
        )
    found = sympy.Function(stem, real=True)
    if len(function) == len(stem):
        return found(parts[0])
    inner = sympy.Dummy("t", real=True)
    derivative = sympy.Derivative(found(inner), (inner, len(function) - len(stem)))
    return sympy.Subs(derivative, inner, parts[0])


def _combined(node: Expression, operator: Operator, a: Any, b: Any) -> Any:
    match operator:
        case Operator.PLUS:
            return a + b
        case Operator.MINUS:
            return a - b
        case Operator.OVER:
            if b.is_zero:
                raise FormulaError(f"{label_of(node).text} divides by zero")
            return a / b
        case Operator.POWER:
            is_large = b.is_number and not -MAX_EXPONENT <= float(b) <= MAX_EXPONENT
            if is_large or (a.is_zero and b.is_number and b.is_negative):
                raise FormulaError(
                    f"the power {label_of(node).text} is beyond bounds; exponents go from "
                    f"−{MAX_EXPONENT} to {MAX_EXPONENT}"
                )
            if a.is_Rational and b.is_Rational and _is_long(a) and abs(b) > 1:
                raise FormulaError(f"the power {label_of(node).text} has too many digits")
            return a**b
    return a * b


def _is_long(value: Any) -> bool:
    return bool(max(abs(value.p), value.q) > 10**12)


def derived(of: Any, towards: Any) -> Any:
    """The derivative.

    Raises:
        FormulaError: if it grows beyond what can be read.
    """
    found = sympy.diff(of, towards)
    check_size(found)
    return found


def check_size(of: Any) -> None:
    """Refuses what has grown too large.

    Raises:
        FormulaError: beyond 2,500 operations.
    """
    for seen, _ in enumerate(sympy.preorder_traversal(of)):
        if seen > MAX_OPERATIONS:
            raise FormulaError(
                "the derivatives of this formula grow beyond what can be read; derive its parts "
                "one by one, or take a lower order"
            )


def tidied(of: Any) -> Any:
    """The shorter of what came out, its factored and its expanded form."""
    if sympy.count_ops(of) > 120 or of.has(sympy.nan, sympy.zoo):
        return of
    candidates = [of]
    symbols = of.free_symbols
    try:
        candidates.append(sympy.factor_terms(of))
        if degree_of(of) <= MAX_DEGREE and of.is_polynomial(*symbols):
            candidates += [sympy.expand(of), sympy.factor(of)]
    except sympy.PolynomialError:
        pass
    return min(candidates, key=lambda c: (sympy.count_ops(c), len(str(c))))


def degree_of(of: Any) -> int:
    """No polynomial in it has a higher degree when multiplied out: what expanding would cost."""
    if of.is_Pow:
        exponent = of.exp
        return degree_of(of.base) * (abs(int(exponent)) if exponent.is_Integer else 1)
    if of.is_Mul:
        return sum(degree_of(part) for part in of.args)
    return max((degree_of(part) for part in of.args), default=0 if of.is_number else 1)


class _Text(StrPrinter):  # type: ignore[misc]
    """Text as on paper: x², σ(x)·(1 − σ(x))."""

    def _print_Symbol(self, of: Any) -> str:
        return text_of_name(of.name)

    def _print_Function(self, of: Any) -> str:
        inner = ", ".join(self._print(arg) for arg in of.args)
        if isinstance(of, Absolute):
            return f"|{inner}|"
        return f"{_NAMES.get(type(of).__name__, name_of_function(type(of).__name__)[0])}({inner})"

    _print_Sigmoid = _print_ReLU = _print_Step = _print_Sign = _print_Absolute = _print_Function
    _print_log = _print_exp = _print_Function

    def _print_Abs(self, of: Any) -> str:
        return f"|{self._print(of.args[0])}|"

    def _print_Derivative(self, of: Any) -> str:
        inner = of.expr
        count = sum(n for _, n in of.variable_count)
        if isinstance(inner, sympy.core.function.AppliedUndef) and len(inner.args) == 1:
            name = text_of_name(type(inner).__name__)
            return f"{name}{chr(39) * count}({self._print(inner.args[0])})"
        return str(super()._print_Derivative(of))

    def _print_Subs(self, of: Any) -> str:
        inner, (old,), (new,) = of.expr, of.variables, of.point
        if isinstance(inner, sympy.Derivative):
            name = text_of_name(type(inner.expr).__name__)
            count = sum(n for _, n in inner.variable_count)
            if inner.expr.args == (old,):
                return f"{name}{chr(39) * count}({self._print(new)})"
        return str(super()._print_Subs(of))


class _Latex(LatexPrinter):  # type: ignore[misc]
    """LaTeX with σ and the house's names."""

    def _print_Symbol(self, of: Any, style: str = "plain") -> str:
        return latex_of_name(of.name)

    def _named(self, latex: str, of: Any, exp: str | None) -> str:
        power = f"^{{{exp}}}" if exp is not None else ""
        return f"{latex}{power}\\left({self._print(of.args[0])}\\right)"

    def _print_Sigmoid(self, of: Any, exp: str | None = None) -> str:
        return self._named(r"\sigma", of, exp)

    def _print_ReLU(self, of: Any, exp: str | None = None) -> str:
        return self._named(r"\operatorname{ReLU}", of, exp)

    def _print_Step(self, of: Any, exp: str | None = None) -> str:
        return self._named(r"\operatorname{step}", of, exp)

    def _print_Sign(self, of: Any, exp: str | None = None) -> str:
        return self._named(r"\operatorname{sign}", of, exp)

    def _print_Absolute(self, of: Any, exp: str | None = None) -> str:
        power = f"^{{{exp}}}" if exp is not None else ""
        return f"\\left\\lvert {self._print(of.args[0])} \\right\\rvert{power}"

    def _print_Derivative(self, of: Any) -> str:
        inner = of.expr
        count = sum(n for _, n in of.variable_count)
        if isinstance(inner, sympy.core.function.AppliedUndef) and len(inner.args) == 1:
            name = latex_of_name(type(inner).__name__)
            return f"{name}{chr(39) * count}\\left({self._print(inner.args[0])}\\right)"
        return str(super()._print_Derivative(of))

    def _print_Subs(self, of: Any) -> str:
        inner, (old,), (new,) = of.expr, of.variables, of.point
        if isinstance(inner, sympy.Derivative) and inner.expr.args == (old,):
            count = sum(n for _, n in inner.variable_count)
            name = latex_of_name(type(inner.expr).__name__)
            return f"{name}{chr(39) * count}\\left({self._print(new)}\\right)"
        return str(super()._print_Subs(of))


_RAISED = re.compile(r"\^(\d+)(?![\d.])")
_MINUS = re.compile(r"(?<!\de)-")
_HIGH = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_NAMES = {"Sigmoid": "σ", "Step": "step", "Sign": "sign", "log": "ln", "ReLU": "ReLU"}


def label_of_sympy(of: Any) -> Label:
    """SymPy's expression, set."""
    text = _Text().doprint(of).replace("**", "^").replace("*", "·").replace("sqrt(", "√(")
    text = _RAISED.sub(lambda found: found[1].translate(_HIGH), _MINUS.sub("−", text))
    if len(text) > MAX_LETTERS:
        raise FormulaError(
            f"a derivative of this formula has {len(text):,} letters, which nobody reads; derive "
            f"its parts one by one"
        )
    latex = _Latex({"ln_notation": True, "fold_short_frac": False}).doprint(of)
    return Label(text, latex)


def at_point(of: Any, point: Mapping[Any, Any]) -> Any:
    """The value at a point: exactly where it is a fraction, in 15 digits where it is not."""
    found = of.subs(dict(point), simultaneous=True)
    if found.is_Rational and max(abs(found.p), found.q) < 10**15:
        return found
    if found.is_number:
        value = sympy.N(found, 15)
        return value if value.is_real and value.is_finite else sympy.nan
    return found
