"""Derivations of formulas of numbers, through SymPy, each beside autograd."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from itertools import combinations_with_replacement
from math import factorial
from typing import Any

import sympy
import torch
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg._progress import Progress
from thalweg.symbolic._evaluation import value_of
from thalweg.symbolic._expression import Expression
from thalweg.symbolic._finding import Comparison, Finding
from thalweg.symbolic._label import Label
from thalweg.symbolic._scalar import (
    MAX_DEGREE,
    at_point,
    check_size,
    degree_of,
    derived,
    label_of_sympy,
    symbol,
    sympy_of,
    tidied,
)

NUM_POINTS = 8
MAX_VARIABLES = 6
MAX_TERMS = 60
"""Of a Taylor polynomial in several variables."""

_MAX_SYMBOLIC = 400
"""Operations of a Newton update that is written out in letters."""


class _TooLongError(Exception):
    """What would be written fills pages."""


class OfNumbers:
    """Gradient, Hessian, Taylor polynomial and Newton step of a formula of numbers.

    Args:
        expression: the formula.
        variables: towards which it is derived.
        at: values of names, exactly.
        order: of the Taylor polynomial.
    """

    def __init__(
        self,
        expression: Expression,
        variables: tuple[str, ...],
        at: Mapping[str, Fraction],
        order: int,
    ) -> None:
        if len(variables) > MAX_VARIABLES:
            raise FormulaError(
                f"the formula has {len(variables)} variables; name at most {MAX_VARIABLES} with "
                f"wrt, such as wrt=({variables[0]!r},), or write it with vectors"
            )
        self._expression = expression
        self._names = variables
        self._params = tuple(sorted(expression.names - set(variables) - {"pi", "e"}))
        self._x = [symbol(name) for name in variables]
        self._at = at
        self._order = order
        self._f = sympy_of(expression)
        check_size(self._f)
        self._gradient = [derived(self._f, x) for x in self._x]
        self._hessian = [[derived(g, x) for x in self._x] for g in self._gradient]
        self._point = {symbol(n): sympy.Rational(v.numerator, v.denominator) for n, v in at.items()}
        self._is_given = all(name in at for name in variables)

    def findings(self, progress: Progress) -> tuple[Finding, ...]:
        """All of them, in order.

        Args:
            progress: told what is being done and which share of the whole is behind.
        """
        first = (self._value(),) if self._is_given else ()
        progress("gradient", 0.05)
        gradient = self._of_gradient()
        progress("Hessian", 0.1)
        hessian = self._of_hessian()
        taylor = self._taylor(progress)
        progress("Newton", 0.8)
        return (*first, gradient, hessian, taylor, *self._newton())

    def _value(self) -> Finding:
        f = Label("f", "f")
        value = self._shown(self._f)
        return Finding(
            "value", self._place(f), value, verification=self._compared("value", [self._f], 0)
        )

    def _of_gradient(self) -> Finding:
        formula = self._vector([tidied(g) for g in self._gradient])
        name = "derivative" if len(self._x) == 1 else "gradient"
        x = Label.of_name(self._names[0])
        symbol_ = (
            Label(f"f'({x.text})", f"f'({x.latex})")
            if len(self._x) == 1
            else Label("∇f", r"\nabla f")
        )
        value = self._vector_at(self._gradient)
        verification = self._compared(name, self._gradient, 1)
        return Finding(name, symbol_, formula, value, verification)

    def _of_hessian(self) -> Finding:
        flat = [h for row in self._hessian for h in row]
        if len(self._x) == 1:
            x = Label.of_name(self._names[0])
            symbol_ = Label(f"f''({x.text})", f"f''({x.latex})")
            title = "second derivative"
        else:
            symbol_, title = Label("H", "H"), "Hessian"
        formula = self._matrix([[tidied(h) for h in row] for row in self._hessian])
        value = None
        if self._is_given:
            value = self._matrix([[at_point(h, self._point) for h in row] for row in self._hessian])
        return Finding(title, symbol_, formula, value, self._compared(title, flat, 2))

    def _taylor(self, progress: Progress) -> Finding:
        centre = {x: self._point.get(x, sympy.Integer(0)) for x in self._x}
        at = ", ".join(
            f"{Label.of_name(x.name).text} = {label_of_sympy(v).text}" for x, v in centre.items()
        )
        title = f"Taylor polynomial of order {self._order} around {at}"
        names = self._names_set()
        symbol_ = Label(f"f{names.text}", f"f{names.latex}")
        if len(self._x) == 1:
            symbol_ = Label(f"f({names.text})", f"f({names.latex})")
        terms: list[tuple[Any, tuple[Any, ...]]] = []
        level: dict[tuple[Any, ...], Any] = {(): self._f}
        for degree in range(self._order + 1):
            # Derivatives of each degree grow about as fast as their number.
            progress(f"Taylor, order {degree}", 0.2 + 0.6 * (degree / (self._order + 1)) ** 2)
            if degree:
                level = {
                    chosen: derived(level[chosen[:-1]], chosen[-1])
                    for chosen in combinations_with_replacement(self._x, degree)
                }
            for chosen, derivative in level.items():
                value = _finite(at_point(derivative, {**self._point, **centre}))
                if value is None:
                    note = f"there is none: a derivative of order {degree} is not finite there"
                    return Finding(title, symbol_, Label("none", r"\text{none}"), note=note)
                count = 1
                for x in self._x:
                    count *= factorial(chosen.count(x))
                if value != 0:
                    terms.append((tidied(value / count), chosen))
            if len(terms) > MAX_TERMS:
                raise FormulaError(
                    f"the Taylor polynomial has more than {MAX_TERMS} terms; take a lower order"
                )
        formula = _polynomial(terms, centre)
        verification = self._taylor_compared(terms, centre)
        return Finding(title, symbol_, formula, verification=verification)

    def _newton(self) -> tuple[Finding, ...]:
        H, g = sympy.Matrix(self._hessian), sympy.Matrix(self._gradient)
        x = self._names_set()
        symbol_ = Label(f"{x.text}⁺", f"{x.latex}^{{+}}")
        title = "Newton update"
        rule = Label(f"{x.text} − H⁻¹ ∇f", f"{x.latex} - H^{{-1}} \\nabla f")
        try:
            step = self._solved(H, g)
        except _TooLongError:
            long = Finding(title, symbol_, rule, note="too long to be written out in letters")
            return (long, self._newton_step(symbol_)) if self._is_given else (long,)
        if step is None:
            said = "the Hessian is not invertible, so Newton has no step"
            return (Finding(title, symbol_, Label("none", r"\text{none}"), note=said),)
        formulas = [tidied(_cancelled(v - s)) for v, s in zip(self._x, step, strict=True)]
        if sum(int(sympy.count_ops(f)) for f in formulas) > _MAX_SYMBOLIC:
            found = [Finding(title, symbol_, rule, note="too long to be written out in letters")]
        else:
            verification = self._newton_compared(formulas)
            if not verification.num_points:
                # Singular at every random point: singular as a formula.
                said = "the Hessian is not invertible at any random point, so Newton has no step"
                return (Finding(title, symbol_, Label("none", r"\text{none}"), note=said),)
            found = [Finding(title, symbol_, self._vector(formulas), verification=verification)]
        if self._is_given:
            found.append(self._newton_step(symbol_))
        return tuple(found)

    def _newton_step(self, symbol_: Label) -> Finding:
        H = sympy.Matrix(
            len(self._x), len(self._x), [at_point(h, self._point) for r in self._hessian for h in r]
        )
        g = [at_point(v, self._point) for v in self._gradient]
        step = None
        if not any(v.has(sympy.nan, sympy.zoo, sympy.oo) for v in [*H, *g]):
            step = self._solved(H, sympy.Matrix(g))
        if step is None:
            note = "the Hessian is not invertible there, so Newton has no step from this point"
            return Finding("Newton step", symbol_, Label("none", r"\text{none}"), note=note)
        places = [self._point[x] - s for x, s in zip(self._x, step, strict=True)]
        moved = self._vector([-s for s in step])
        start = self._vector([self._point[x] for x in self._x])
        shown = self._vector([at_point(p, self._point) for p in places])
        formula = Label(
            f"{start.text} + ({moved.text}) = {shown.text}",
            f"{start.latex} + \\left({moved.latex}\\right) = {shown.latex}",
        )
        return Finding("Newton step", symbol_, formula, shown, self._step_compared(places))

    def _solved(self, H: Any, g: Any) -> list[Any] | None:
        """H⁻¹ g; None where H has no inverse.

        Raises:
            _TooLongError: if the inverse would fill pages.
        """
        if H.shape == (1, 1):
            return None if H[0, 0] == 0 else [_cancelled(g[0, 0] / H[0, 0])]
        if H.shape[0] > 3 and H.free_symbols:
            raise _TooLongError
        if not H.free_symbols:
            return None if H.det() == 0 else list(H.LUsolve(g))
        determinant = _determinant(H)
        check_size(determinant)
        is_short = sympy.count_ops(determinant) < 200 and degree_of(determinant) < 2 * MAX_DEGREE
        if determinant == 0 or (is_short and sympy.expand(determinant) == 0):
            return None
        # Cramer's rule: SymPy's own inverses multiply everything out.
        solution = []
        for column in range(H.shape[0]):
            replaced = H.copy()
            replaced[:, column] = g
            solution.append(_determinant(replaced) / determinant)
        return solution

    # What autograd says.

    def _values(self, generator: torch.Generator) -> dict[str, Tensor]:
        """Random values: half of the points are positive, for logarithms and roots."""
        values = {}
        is_positive = bool(torch.rand((), generator=generator) < 0.5)
        for name in (*self._names, *self._params):
            drawn = 1.5 * torch.randn((), generator=generator, dtype=torch.float64)
            values[name] = drawn.abs() + 0.1 if is_positive else drawn
        return values

    def _compared(self, what: str, formulas: list[Any], order: int) -> Any:
        comparison = Comparison(what)
        generator = torch.Generator().manual_seed(0)
        for _ in range(3 * NUM_POINTS):
            values = self._values(generator)
            theirs = self._by_autograd(values, order)
            ours = torch.tensor([_float(f, values) for f in formulas], dtype=torch.float64)
            comparison.add(ours, theirs)
            if comparison.result.num_points == NUM_POINTS:
                break
        return comparison.result

    def _by_autograd(self, values: Mapping[str, Tensor], order: int) -> Tensor:
        """f, its gradient or its Hessian, flat."""
        with torch.inference_mode(False), torch.enable_grad():
            leaves = [values[name].clone().requires_grad_() for name in self._names]
            held = {**values, **dict(zip(self._names, leaves, strict=True))}
            outputs = [value_of(self._expression, held) + 0 * sum(leaves)]
            for _ in range(order):
                outputs = [
                    part + 0 * sum(leaves)
                    for output in outputs
                    for part in torch.autograd.grad(
                        output, leaves, create_graph=True, materialize_grads=True, allow_unused=True
                    )
                ]
            return torch.stack(outputs).detach()

    def _taylor_compared(
        self, terms: list[tuple[Any, tuple[Any, ...]]], centre: Mapping[Any, Any]
    ) -> Any:
        """Derivatives of t ↦ f(a + t d), for random d, beside the terms of each degree."""
        comparison = Comparison("Taylor polynomial")
        generator = torch.Generator().manual_seed(1)
        for _ in range(NUM_POINTS):
            values = self._values(generator)
            held = {n: torch.tensor(float(v), dtype=torch.float64) for n, v in self._at.items()}
            values = {**values, **held}
            direction = {x.name: float(torch.randn((), generator=generator)) for x in self._x}
            with torch.inference_mode(False), torch.enable_grad():
                t = torch.zeros((), dtype=torch.float64, requires_grad=True)
                moved = {x.name: float(centre[x]) + t * direction[x.name] for x in self._x}
                output = value_of(self._expression, {**values, **moved}) + 0 * t
                theirs = []
                for _ in range(self._order + 1):
                    theirs.append(output.detach())
                    (output,) = torch.autograd.grad(
                        output, t, create_graph=True, materialize_grads=True, allow_unused=True
                    )
                    output = output + 0 * t
            ours = [0.0] * (self._order + 1)
            for coefficient, chosen in terms:
                size = 1.0
                for x in chosen:
                    size *= direction[x.name]
                ours[len(chosen)] += _float(coefficient, values) * size * factorial(len(chosen))
            comparison.add(torch.tensor(ours, dtype=torch.float64), torch.stack(theirs))
        return comparison.result

    def _newton_compared(self, formulas: list[Any]) -> Any:
        comparison = Comparison("Newton update")
        generator = torch.Generator().manual_seed(2)
        for _ in range(3 * NUM_POINTS):
            values = self._values(generator)
            theirs = self._newton_by_autograd(values)
            if theirs is None:
                continue
            comparison.add(
                torch.tensor([_float(f, values) for f in formulas], dtype=torch.float64), theirs
            )
            if comparison.result.num_points == NUM_POINTS:
                break
        return comparison.result

    def _step_compared(self, places: list[Any]) -> Any:
        comparison = Comparison("Newton step")
        names = {n: torch.tensor(float(v), dtype=torch.float64) for n, v in self._at.items()}
        if set(self._params) <= set(names):
            theirs = self._newton_by_autograd(names)
            if theirs is not None:
                comparison.add(
                    torch.tensor([_float(p, names) for p in places], dtype=torch.float64), theirs
                )
        return comparison.result

    def _newton_by_autograd(self, values: Mapping[str, Tensor]) -> Tensor | None:
        n = len(self._names)
        g, H = self._by_autograd(values, 1), self._by_autograd(values, 2).reshape(n, n)
        # A matrix near a singular one says nothing about a formula.
        if not bool(torch.isfinite(H).all()) or not float(torch.linalg.cond(H)) <= 1e6:
            return None
        start = torch.stack([values[name] for name in self._names])
        moved: Tensor = start - torch.linalg.solve(H, g)
        return moved

    # How it is set.

    def _names_set(self) -> Label:
        """The variable, or all of them in brackets."""
        names = [Label.of_name(name) for name in self._names]
        if len(names) == 1:
            return names[0]
        inner = ", ".join(n.text for n in names), ", ".join(n.latex for n in names)
        return Label(f"({inner[0]})", f"({inner[1]})")

    def _place(self, of: Label) -> Label:
        at = ", ".join(label_of_sympy(self._point[x]).text for x in self._x)
        latex = ", ".join(label_of_sympy(self._point[x]).latex for x in self._x)
        return Label(f"{of.text}({at})", f"{of.latex}({latex})")

    def _shown(self, of: Any) -> Label:
        return _entry(at_point(of, self._point))

    def _vector(self, formulas: list[Any]) -> Label:
        labels = [_entry(f) for f in formulas]
        if len(labels) == 1:
            return labels[0]
        latex = r" \\ ".join(label.latex for label in labels)
        text = ", ".join(label.text for label in labels)
        return Label(f"({text})", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}")

    def _vector_at(self, formulas: list[Any]) -> Label | None:
        if not self._is_given:
            return None
        return self._vector([at_point(f, self._point) for f in formulas])

    def _matrix(self, rows: list[list[Any]]) -> Label:
        if len(rows) == 1:
            return _entry(rows[0][0])
        labels = [[_entry(f) for f in row] for row in rows]
        text = ", ".join(f"[{', '.join(label.text for label in row)}]" for row in labels)
        latex = r" \\ ".join(" & ".join(label.latex for label in row) for row in labels)
        return Label(f"[{text}]", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}")


def _determinant(H: Any) -> Any:
    """By the first row, nothing multiplied out."""
    if H.shape == (1, 1):
        return H[0, 0]
    total = sympy.Integer(0)
    for column in range(H.shape[0]):
        minor = H.copy()
        minor.row_del(0)
        minor.col_del(column)
        total += (-1) ** column * H[0, column] * _determinant(minor)
    return total


def _finite(value: Any) -> Any | None:
    return None if value.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo) else value


def _rounded(value: Any) -> Any:
    """Decimals to 10 digits; fractions stay."""
    return sympy.N(value, 10) if value.is_Float else value


def _entry(of: Any) -> Label:
    if of.has(sympy.nan, sympy.zoo, sympy.oo, -sympy.oo):
        return Label("not finite", r"\text{not finite}")
    return label_of_sympy(_rounded(of))


def _cancelled(of: Any) -> Any:
    """A quotient of polynomials in lowest terms; anything else as it is."""
    if sympy.count_ops(of) > 150 or degree_of(of) > 2 * MAX_DEGREE:
        return of
    return sympy.cancel(of) if of.is_rational_function() else sympy.factor_terms(of)


def _float(of: Any, values: Mapping[str, Tensor]) -> float:
    """The value in float64; NaN where there is none."""
    found = _with_stand_ins(of).subs({symbol(n): float(v) for n, v in values.items()})
    found = sympy.N(found, 17)
    return float(found) if found.is_real and found.is_finite else float("nan")


def _with_stand_ins(of: Any) -> Any:
    """With a definite smooth function in the place of each that nobody specified."""
    undefined = of.atoms(sympy.core.function.AppliedUndef)
    if not undefined:
        return of
    t = sympy.Dummy("t", real=True)
    body = sympy.sin(t) + t**3 / 6 + sympy.exp(t) / 2
    for function in {type(call) for call in undefined}:
        of = of.subs(function, sympy.Lambda(t, body))
    return of.doit()


def _polynomial(terms: list[tuple[Any, tuple[Any, ...]]], centre: Mapping[Any, Any]) -> Label:
    """By rising degree, in x − a."""
    if not terms:
        return Label("0", "0")
    text = latex = ""
    for coefficient, chosen in terms:
        coefficient = _rounded(coefficient)
        is_negative = coefficient.could_extract_minus_sign()
        label = label_of_sympy(-coefficient if is_negative else coefficient)
        is_sum = coefficient.is_Add
        held = Label(f"({label.text})", f"\\left({label.latex}\\right)") if is_sum else label
        powers = [_power(x, chosen.count(x), centre[x]) for x in dict.fromkeys(chosen)]
        parts = [held, *powers] if not powers or label.text != "1" else powers
        joined = Label(
            " ".join(part.text for part in parts), r" \, ".join(part.latex for part in parts)
        )
        first = ("−" if is_negative else "", "-" if is_negative else "")
        between = (" − ", " - ") if is_negative else (" + ", " + ")
        text += (between if text else first)[0] + joined.text
        latex += (between if latex else first)[1] + joined.latex
    return Label(text, latex)


def _power(x: Any, exponent: int, at: Any) -> Label:
    base = label_of_sympy(x)
    if at != 0:
        offset = label_of_sympy(abs(at))
        sign = ("−", "-") if at > 0 else ("+", "+")
        base = Label(
            f"({base.text} {sign[0]} {offset.text})", f"({base.latex} {sign[1]} {offset.latex})"
        )
    if exponent == 1:
        return base
    raised = str(exponent).translate(str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return Label(f"{base.text}{raised}", f"{base.latex}^{{{exponent}}}")
