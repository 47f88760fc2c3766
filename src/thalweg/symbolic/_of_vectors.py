"""Derivations of formulas of vectors and matrices, each beside autograd."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

import torch
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg._progress import Progress
from thalweg.symbolic._calculus import Calculus
from thalweg.symbolic._evaluation import ELEMENTARY, stand_in, value_of
from thalweg.symbolic._expression import Call, Expression
from thalweg.symbolic._finding import Comparison, Finding, Verification
from thalweg.symbolic._kinds import Kind
from thalweg.symbolic._label import Label
from thalweg.symbolic._setting import label_of
from thalweg.symbolic._terms import IDENTITY, Algebra, Atom, Factor, Sum, Term
from thalweg.symbolic._terms_of import terms_of
from thalweg.symbolic._terms_set import label_of_sum

NUM_POINTS = 8
NUM_SAMPLES = 5
"""Over which E is taken where it is compared."""

SIZE = 3
"""Entries of the vectors at random points."""


@dataclass(frozen=True)
class _Update:
    """Where Newton goes: start − H⁻¹ solved.

    Args:
        label: as it is set.
        start: a vector.
        solved: a vector; nothing where no inverse is left.
    """

    label: Label
    start: Sum
    solved: Sum


def _known(place: Sum) -> _Update:
    return _Update(label_of_sum(place), place, Sum(()))


class OfVectors:
    """Gradient, Hessian, Taylor polynomial and Newton step of a formula of vectors.

    Args:
        expression: the formula, whose value is a number.
        kinds: of its names.
        name: of the vector towards which it is derived.
        symmetric: names of symmetric matrices.
        at: values of names; numbers are shown where all are there.
        order: of the Taylor polynomial, 1 or 2.
    """

    def __init__(
        self,
        expression: Expression,
        kinds: Mapping[str, Kind],
        name: str,
        symmetric: frozenset[str],
        at: Mapping[str, Tensor],
        order: int,
    ) -> None:
        if order > 2:
            raise FormulaError(
                f"order={order}: of vectors the Taylor polynomial is written up to order 2; of "
                f"numbers up to any"
            )
        self._expression, self._kinds, self._name = expression, kinds, name
        self._symmetric, self._order = symmetric, order
        self._algebra = Algebra(symmetric)
        self._f = terms_of(expression, kinds, self._algebra)
        if self._f.kind is not Kind.NUMBER:
            raise FormulaError(
                f"{label_of(expression).text} is a {self._f.kind.value}; a number is derived, such "
                f"as ||…||^2"
            )
        calculus = Calculus(self._algebra, name)
        self._gradient = calculus.gradient(self._f)
        self._hessian = calculus.jacobian(self._gradient)
        self.rules = tuple(calculus.rules.values())
        self._random = self._random_names()
        self._at = at
        self._is_given = bool(at) and set(kinds) - {"pi", "e"} <= set(at) and not self._random

    def findings(self, progress: Progress) -> tuple[Finding, ...]:
        """All of them, in order.

        Args:
            progress: told what is being done and which share of the whole is behind.
        """
        progress("gradient", 0.1)
        gradient = self._compared("gradient", self._gradient, 1)
        progress("Hessian", 0.3)
        hessian = self._compared("Hessian", self._hessian, 2)
        first: tuple[Finding, ...] = ()
        if self._is_given:
            f = Label("f", "f")
            first = (Finding("value", f, _numbers(value_of(self._expression, self._at))),)
        progress("Taylor and Newton", 0.6)
        return (
            *first,
            Finding(
                "gradient", Label("∇f", r"\nabla f"), label_of_sum(self._gradient),
                self._number(self._gradient), gradient,
            ),
            Finding(
                "Hessian", Label("H", "H"), label_of_sum(self._hessian),
                self._number(self._hessian), hessian,
            ),
            self._taylor(),
            *self._newton(),
        )  # fmt: skip

    def _random_names(self) -> frozenset[str]:
        """What E is taken over: the names in it that stand nowhere else."""
        inside: set[str] = set()
        for node in self._expression.walk():
            if isinstance(node, Call) and node.function == "E":
                inside |= node.names
        return frozenset(inside - {self._name}) - self._outside()

    def _outside(self) -> set[str]:
        found: set[str] = set()
        waiting = [self._expression]
        while waiting:
            node = waiting.pop()
            if isinstance(node, Call) and node.function == "E":
                continue
            found |= {node.text} if hasattr(node, "text") else set()
            waiting += node.parts
        return found

    def _taylor(self) -> Finding:
        algebra = self._algebra
        d = algebra.factor(Factor("d", False, True))
        first = (
            algebra.product(algebra.transposed(self._gradient), d)
            if not self._gradient.is_zero
            else Sum(())
        )
        terms = [label_of_sum(self._f)]
        if not first.is_zero:
            terms.append(label_of_sum(first))
        if self._order == 2 and not self._hessian.is_zero:
            curved = algebra.product(algebra.product(algebra.transposed(d), self._hessian), d)
            terms.append(label_of_sum(algebra.scaled(Fraction(1, 2), curved)))
        w = Label.of_name(self._name)
        symbol = Label(f"f({w.text} + d)", f"f({w.latex} + d)")
        title = f"Taylor polynomial of order {self._order}"
        if "d" in self._kinds:
            symbol_ = Label(
                "f(w) + ∇fᵀ d + 1/2 dᵀ H d", r"f(w) + \nabla f^{\top} d + \tfrac{1}{2} d^{\top} H d"
            )
            return Finding(
                title,
                symbol,
                symbol_,
                note="d stands for the step here, not for the d of the formula",
            )
        text, latex = terms[0].text, terms[0].latex
        for term in terms[1:]:
            is_negative = term.text.startswith("−")
            text += f" − {term.text[1:]}" if is_negative else f" + {term.text}"
            latex += f" - {term.latex[1:]}" if is_negative else f" + {term.latex}"
        note = (
            "along a gradient step of size ε: f(w − ε∇f) = f(w) − ε ‖∇f‖² + ½ ε² ∇fᵀ H ∇f + …"
        ).replace("w", w.text)
        return Finding(title, symbol, Label(text, latex), None, self._taylor_compared(), note)

    def _newton(self) -> tuple[Finding, ...]:
        w = Label.of_name(self._name)
        symbol = Label(f"{w.text}⁺", f"{w.latex}^{{+}}")
        formula, note = self._newton_formula()
        verification = None if formula is None else self._newton_compared(formula)
        if verification is not None and not verification.num_points:
            # Singular at every random point: singular as a formula.
            formula, verification, note = (
                None,
                None,
                ("the Hessian is not invertible at any random point, so Newton has no step"),
            )
        label = Label("none", r"\text{none}") if formula is None else formula.label
        found = [Finding("Newton update", symbol, label, None, verification, note)]
        if self._is_given:
            found.append(self._newton_step(symbol))
        return tuple(found)

    def _newton_formula(self) -> tuple[_Update | None, str]:
        """The update w − H⁻¹∇f, worked out where the inverse of H can be written."""
        algebra, w = self._algebra, Label.of_name(self._name)
        vector = algebra.factor(Factor(self._name, False, True))
        H = self._hessian
        if H.is_zero:
            return None, "the Hessian is zero, so Newton has no step"
        if len(H.terms) == 1 and len(H.terms[0].chain) > 1 and H.terms[0].chain[0].is_vector:
            return None, (
                "the Hessian has rank one, so it is not invertible where there is more than one "
                "entry, and Newton has no step"
            )
        if not H.depends_on(self._name):
            rest = algebra.add(self._gradient, algebra.scaled(-1, algebra.product(H, vector)))
            if rest.is_zero:
                return _known(Sum(())), "in one step, from anywhere, where H is invertible"
            number = _multiple_of_identity(H)
            if number is not None:
                return _known(algebra.scaled(-1 / number, rest)), "in one step, from anywhere"
            label = self._solved_label(H, rest)
            update = _Update(label, Sum(()), rest)
            return update, "in one step, from anywhere, where H is invertible"
        share = self._share_along()
        if share is not None:
            return _known(algebra.scaled(1 - share, vector)), ""
        label = Label(f"{w.text} − H⁻¹ ∇f", f"{w.latex} - H^{{-1}} \\nabla f")
        update = _Update(label, vector, self._gradient)
        return update, "H has no inverse that could be written shortly"

    def _solved_label(self, H: Sum, rest: Sum) -> Label:
        """−H⁻¹ r, without the factor that both have, and the sign put in where that is short."""
        algebra = self._algebra
        sizes = {abs(term.coefficient) for term in H.terms}
        if len(sizes) == 1:
            (size,) = sizes
            H, rest = algebra.scaled(1 / size, H), algebra.scaled(1 / size, rest)
        is_negative = len(rest.terms) == 1 and rest.terms[0].coefficient < 0
        left, right = (
            label_of_sum(H),
            label_of_sum(algebra.scaled(-1, rest) if is_negative else rest),
        )
        if len(rest.terms) > 1:
            right = Label(f"({right.text})", f"\\left({right.latex}\\right)")
        if not left.text.isalnum():
            left = Label(f"({left.text})", f"\\left({left.latex}\\right)")
        sign = ("", "") if is_negative else ("−", "-")
        return Label(
            f"{sign[0]}{left.text}⁻¹ {right.text}", f"{sign[1]}{left.latex}^{{-1}} {right.latex}"
        )

    def _share_along(self) -> Fraction | None:
        """Where ∇f = c w and H = a I + b w wᵀ: c/(a + b‖w‖²), if that is a constant."""
        algebra, name = self._algebra, self._name
        square = algebra.product(
            algebra.factor(Factor(name, True, True)), algebra.factor(Factor(name, False, True))
        )
        c = algebra.add(*(self._scalar(t) for t in self._gradient.terms if _names(t) == (name,)))
        if len(c.terms) != len(self._gradient.terms):
            return None
        along: list[Sum] = []
        for term in self._hessian.terms:
            if _names(term) == (IDENTITY,):
                along.append(self._scalar(term))
            elif _names(term) == (name, name):
                along.append(algebra.product(self._scalar(term), square))
            else:
                return None
        total = algebra.add(*along)
        if len(c.terms) != 1 or len(total.terms) != 1 or c.terms[0].atoms != total.terms[0].atoms:
            return None
        return c.terms[0].coefficient / total.terms[0].coefficient

    def _scalar(self, term: Term) -> Sum:
        return Sum((Term(term.coefficient, term.atoms, ()),))

    def _newton_step(self, symbol: Label) -> Finding:
        g, H = self._by_autograd(self._at, ({},), 1), self._by_autograd(self._at, ({},), 2)
        start = self._at[self._name]
        ours = self._value(self._hessian, self._at, ({},)).expand(H.shape)
        if not float(torch.linalg.cond(ours)) < 1e14:
            note = "the Hessian is not invertible there, so Newton has no step from this point"
            return Finding("Newton step", symbol, Label("none", r"\text{none}"), note=note)
        step = -torch.linalg.solve(ours, g)
        begun, moved, end = _numbers(start), _numbers(step), _numbers(start + step)
        formula = Label(
            f"{begun.text} + {moved.text} = {end.text}",
            f"{begun.latex} + {moved.latex} = {end.latex}",
        )
        comparison = Comparison("Newton step")
        comparison.add(step, -torch.linalg.solve(H, g))
        return Finding("Newton step", symbol, formula, end, comparison.result)

    def _number(self, of: Sum) -> Label | None:
        if not self._is_given:
            return None
        n = self._at[self._name].shape[0]
        value = self._value(of, self._at, ({},))
        return _numbers(value if value.ndim else value.expand(n, 1))

    # What autograd says.

    def _point(
        self, generator: torch.Generator
    ) -> tuple[dict[str, Tensor], tuple[dict[str, Tensor], ...]]:
        values = {name: self._draw(name, generator) for name in sorted(self._kinds)}
        samples = tuple(
            {name: self._draw(name, generator) for name in sorted(self._random)}
            for _ in range(NUM_SAMPLES if self._random else 1)
        )
        return values, samples

    def _draw(self, name: str, generator: torch.Generator) -> Tensor:
        shape = {Kind.NUMBER: (), Kind.VECTOR: (SIZE, 1), Kind.MATRIX: (SIZE, SIZE)}[
            self._kinds[name]
        ]
        drawn = torch.randn(shape, generator=generator, dtype=torch.float64)
        return (drawn + drawn.T) / 2 if name in self._symmetric else drawn

    def _compared(self, what: str, formula: Sum, order: int) -> Verification:
        comparison = Comparison(what)
        generator = torch.Generator().manual_seed(order)
        for _ in range(NUM_POINTS):
            values, samples = self._point(generator)
            theirs = self._by_autograd(values, samples, order)
            ours = self._value(formula, values, samples)
            comparison.add(ours.expand(theirs.shape), theirs)
        return comparison.result

    def _by_autograd(
        self, values: Mapping[str, Tensor], samples: tuple[Mapping[str, Tensor], ...], order: int
    ) -> Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            w = values[self._name].clone().requires_grad_()
            f = value_of(self._expression, {**values, self._name: w}, samples) + 0 * w.sum()
            (gradient,) = torch.autograd.grad(f, w, create_graph=True)
            if order == 1:
                return gradient.detach()
            rows = [
                torch.autograd.grad(
                    entry + 0 * w.sum(), w, retain_graph=True, materialize_grads=True
                )[0]
                for entry in gradient.reshape(-1)
            ]  # fmt: skip
        return torch.stack([row.reshape(-1) for row in rows]).detach()

    def _taylor_compared(self) -> Verification:
        """First and second derivative of t ↦ f(w + t d) beside ∇fᵀd and dᵀHd."""
        comparison = Comparison("Taylor polynomial")
        generator = torch.Generator().manual_seed(3)
        for _ in range(NUM_POINTS):
            values, samples = self._point(generator)
            w = values[self._name]
            d = torch.randn(w.shape, generator=generator, dtype=torch.float64)
            with torch.inference_mode(False), torch.enable_grad():
                t = torch.zeros((), dtype=torch.float64, requires_grad=True)
                output = value_of(self._expression, {**values, self._name: w + t * d}, samples)
                theirs = [output.detach()]
                for _ in range(self._order):
                    (output,) = torch.autograd.grad(
                        output + 0 * t, t, create_graph=True, materialize_grads=True
                    )
                    theirs.append(output.detach())
            g = self._value(self._gradient, values, samples).expand(w.shape)
            H = self._value(self._hessian, values, samples).expand(len(w), len(w))
            ours = [self._value(self._f, values, samples), (g * d).sum(), (d.T @ H @ d).reshape(())]
            comparison.add(torch.stack(ours[: self._order + 1]), torch.stack(theirs))
        return comparison.result

    def _newton_compared(self, update: _Update) -> Verification:
        comparison = Comparison("Newton update")
        generator = torch.Generator().manual_seed(4)
        for _ in range(NUM_POINTS):
            values, samples = self._point(generator)
            g, H = (self._by_autograd(values, samples, order) for order in (1, 2))
            if not float(torch.linalg.cond(H)) <= 1e6:
                continue
            w = values[self._name]
            theirs = w - torch.linalg.solve(H, g)
            ours = self._value(update.start, values, samples).expand(w.shape)
            if not update.solved.is_zero:
                right = self._value(update.solved, values, samples).expand(w.shape)
                left = self._value(self._hessian, values, samples).expand(H.shape)
                ours = ours - torch.linalg.solve(left, right)
            # Where the update is 0, the difference is measured by w.
            comparison.add(ours + w, theirs + w)
        return comparison.result

    def _value(
        self, of: Sum, values: Mapping[str, Tensor], samples: tuple[Mapping[str, Tensor], ...]
    ) -> Tensor:
        """A sum of terms in numbers."""
        n = values[self._name].shape[0]
        total = torch.zeros((), dtype=torch.float64)
        for term in of.terms:
            product = torch.tensor(float(term.coefficient), dtype=torch.float64)
            for atom, exponent in term.atoms:
                product = product * self._atom(atom, values, samples) ** float(exponent)
            matrix: Tensor | None = None
            for factor in term.chain:
                value = self._factor(factor, values, samples, n)
                matrix = value if matrix is None else matrix @ value
            total = total + (product if matrix is None else product * matrix)
        return total

    def _factor(
        self,
        factor: Factor,
        values: Mapping[str, Tensor],
        samples: tuple[Mapping[str, Tensor], ...],
        n: int,
    ) -> Tensor:
        if factor.name == IDENTITY:
            return torch.eye(n, dtype=torch.float64)
        value = (
            values[factor.name]
            if factor.expected is None
            else self._mean(factor.expected, values, samples)
        )
        return value.T if factor.is_transposed else value

    def _mean(
        self, of: Sum, values: Mapping[str, Tensor], samples: tuple[Mapping[str, Tensor], ...]
    ) -> Tensor:
        runs = [self._value(of, {**values, **sample}, samples) for sample in samples]
        return torch.stack(runs).mean(0)

    def _atom(
        self, atom: Atom, values: Mapping[str, Tensor], samples: tuple[Mapping[str, Tensor], ...]
    ) -> Tensor:
        n = values[self._name].shape[0]
        if atom.kind == "name":
            constant = {"pi": torch.pi, "e": torch.e}.get(atom.name)
            return values[atom.name] if atom.name in values else torch.tensor(constant)
        if atom.kind == "chain":
            product = self._factor(atom.chain[0], values, samples, n)
            for factor in atom.chain[1:]:
                product = product @ self._factor(factor, values, samples, n)
            return product.reshape(())
        assert atom.of is not None, "the others are of something"
        if atom.kind == "mean":
            return self._mean(atom.of, values, samples)
        u = self._value(atom.of, values, samples)
        if atom.kind == "power":
            return u
        stem = atom.name.rstrip("'")
        slopes = {"relu'": (u > 0).to(u), "abs'": torch.sign(u)}
        if atom.name in slopes:
            return slopes[atom.name]
        known = ELEMENTARY.get(atom.name)
        return known(u) if known is not None else stand_in(u, len(atom.name) - len(stem))


def _names(term: Term) -> tuple[str, ...]:
    return tuple(factor.name for factor in term.chain)


def _multiple_of_identity(of: Sum) -> Fraction | None:
    if len(of.terms) == 1 and not of.terms[0].atoms and _names(of.terms[0]) == (IDENTITY,):
        return of.terms[0].coefficient
    return None


def _numbers(value: Tensor) -> Label:
    """Columns as vectors, to 10 digits."""

    def number(v: float) -> Label:
        text = f"{v + 0.0:.10g}"
        mantissa, _, exponent = text.partition("e")
        return Label(text, f"{mantissa} \\times 10^{{{int(exponent)}}}" if exponent else text)

    if value.ndim == 0:
        return number(float(value))
    if value.shape[1] == 1:
        labels = [number(v) for v in value.reshape(-1).tolist()]
        latex = r" \\ ".join(label.latex for label in labels)
        text = ", ".join(label.text for label in labels)
    else:
        rows = [[number(v) for v in row] for row in value.tolist()]
        latex = r" \\ ".join(" & ".join(label.latex for label in row) for row in rows)
        text = ", ".join(f"[{', '.join(label.text for label in row)}]" for row in rows)
    return Label(f"[{text}]", f"\\begin{{pmatrix}} {latex} \\end{{pmatrix}}")
