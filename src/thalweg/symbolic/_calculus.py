"""Derivatives of terms towards a vector, with the rules that were used.

Source: Petersen and Pedersen, The Matrix Cookbook, 2012, eqs. 69, 81, 86 and 137; chain rule.
"""

from __future__ import annotations

from fractions import Fraction

from thalweg._errors import FormulaError
from thalweg.symbolic._kinds import Kind
from thalweg.symbolic._label import Label
from thalweg.symbolic._terms import Algebra, Atom, Factor, Sum, Term, identity
from thalweg.symbolic._terms_set import label_of_atom, label_of_number, label_of_sum


class Calculus:
    """Gradient and Jacobian towards one vector.

    Args:
        algebra: in which results are put together.
        name: of the vector.
    """

    def __init__(self, algebra: Algebra, name: str) -> None:
        self._algebra = algebra
        self._name = name
        self._label = Label.of_name(name)
        self.rules: dict[str, Label] = {}

    def gradient(self, of: Sum) -> Sum:
        """∇f of a number: a vector."""
        algebra = self._algebra
        parts = []
        for term in of.terms:
            for place, (atom, exponent) in enumerate(term.atoms):
                inner = self._of_atom(atom)
                if inner.is_zero:
                    continue
                rest = list(term.atoms)
                rest[place] = (atom, exponent - 1)
                self._say_power(atom, exponent)
                left = self._product_of_atoms(rest)
                scaled = algebra.scaled(term.coefficient * exponent, algebra.product(left, inner))
                parts.append(scaled)
            if sum(not self._of_atom(atom).is_zero for atom, _ in term.atoms) > 1:
                self._say(
                    "product rule", "∇(u v) = v ∇u + u ∇v", r"\nabla(u v) = v \nabla u + u \nabla v"
                )
        if len(of.terms) > 1:
            self._say("sum rule", "∇(u + v) = ∇u + ∇v", r"\nabla(u + v) = \nabla u + \nabla v")
        return algebra.add(*parts)

    def jacobian(self, of: Sum) -> Sum:
        """∂v/∂wᵀ of a vector: a matrix whose row i is the gradient of entry i, lying."""
        algebra = self._algebra
        parts = []
        for term in of.terms:
            if term.kind is not Kind.VECTOR:
                raise FormulaError("a second derivative is taken of a gradient, which is a vector")
            number = Sum((Term(term.coefficient, term.atoms, ()),))
            vector = Sum((Term(Fraction(1), (), term.chain),))
            outer = self.gradient(number)
            if not outer.is_zero:
                self._say(
                    "product rule", "∂(s v)/∂wᵀ = v (∇s)ᵀ + s ∂v/∂wᵀ",
                    r"\frac{\partial (s v)}{\partial w^{\top}} = v\, (\nabla s)^{\top} + s "
                    r"\frac{\partial v}{\partial w^{\top}}",
                )  # fmt: skip
                parts.append(algebra.product(vector, algebra.transposed(outer)))
            parts.append(algebra.product(number, self._of_chain(term.chain)))
        return algebra.add(*parts)

    def _of_chain(self, chain: tuple[Factor, ...]) -> Sum:
        """Of M … v, where v is the vector, a mean, or something else."""
        algebra, last = self._algebra, chain[-1]
        if any(f.expected is not None and f.expected.depends_on(self._name) for f in chain[:-1]):
            w = self._label.text
            raise FormulaError(
                f"a product of {w} with a mean that holds {w} is not derived twice; write it "
                f"inside, as E[…], where it is"
            )
        before = [algebra.factor(factor) for factor in chain[:-1]]
        if last.name == self._name:
            inner = algebra.factor(identity())
        elif last.expected is not None and last.expected.depends_on(self._name):
            self._say(
                "expectation", "∂E[v]/∂wᵀ = E[∂v/∂wᵀ]",
                r"\frac{\partial}{\partial w^{\top}} \operatorname{E}[v] = "
                r"\operatorname{E}\left[\frac{\partial v}{\partial w^{\top}}\right]",
            )  # fmt: skip
            inner = algebra.factor(Factor("", False, False, self.jacobian(last.expected)))
        else:
            return algebra.add()
        for factor in reversed(before):
            inner = algebra.product(factor, inner)
        return inner

    def _of_atom(self, atom: Atom) -> Sum:
        algebra = self._algebra
        match atom.kind:
            case "chain":
                return self._of_scalar_product(atom)
            case "call":
                assert atom.of is not None, "a call has an argument"
                inner = self.gradient(atom.of)
                if inner.is_zero:
                    return inner
                g = label_of_atom(Atom("call", atom.name, of=_U))
                slope = label_of_sum(self._slope(atom.name, _U))
                self._say(
                    "chain rule",
                    f"∇{g.text} = {_in_brackets(slope.text)} ∇u",
                    f"\\nabla {g.latex} = {_in_brackets(slope.latex)}\\, \\nabla u",
                )
                return algebra.product(self._slope(atom.name, atom.of), inner)
            case "power":
                assert atom.of is not None, "a power has a base"
                return self.gradient(atom.of)
            case "mean":
                assert atom.of is not None, "a mean is of something"
                inner = self.gradient(atom.of)
                if inner.is_zero:
                    return inner
                self._say(
                    "expectation", "∇E[u] = E[∇u]",
                    r"\nabla \operatorname{E}[u] = \operatorname{E}[\nabla u]",
                )  # fmt: skip
                return algebra.factor(Factor("", False, True, inner))
        return algebra.add()

    def _of_scalar_product(self, atom: Atom) -> Sum:
        """∇(wᵀ z) = z, ∇(wᵀ A w) = A w + Aᵀ w, and likewise for what stands between."""
        algebra, chain, w = self._algebra, atom.chain, self._label
        parts = []
        if chain[0].name == self._name:
            parts.append(self._chained(chain[1:]))
        if chain[-1].name == self._name:
            parts.append(algebra.transposed(self._chained(chain[:-1])))
        for place, factor in enumerate(chain):
            if factor.expected is not None and factor.expected.depends_on(self._name):
                parts.append(self._of_mean_in(chain, place))
        found = algebra.add(*parts)
        if not found.is_zero:
            said, result = label_of_atom(atom), label_of_sum(found)
            self._say(
                f"∇ towards {w.text}", f"∇({said.text}) = {result.text}",
                f"\\nabla\\left({said.latex}\\right) = {result.latex}",
            )  # fmt: skip
        return found

    def _of_mean_in(self, chain: tuple[Factor, ...], place: int) -> Sum:
        """Of aᵀ M … E[v], or of E[v]ᵀ M … a, at the end where the mean stands."""
        if place not in (0, len(chain) - 1):
            raise FormulaError("a mean between two vectors is not derived; write it in E[…]")
        algebra = self._algebra
        mean = chain[place].expected
        assert mean is not None, "asked for a mean"
        inner = algebra.factor(Factor("", True, False, self.jacobian(mean)))
        if place == 0:
            return algebra.product(inner, self._chained(chain[1:]))
        return algebra.product(inner, algebra.transposed(self._chained(chain[:-1])))

    def _chained(self, chain: tuple[Factor, ...]) -> Sum:
        found = self._algebra.factor(chain[0])
        for factor in chain[1:]:
            found = self._algebra.product(found, self._algebra.factor(factor))
        return found

    def _product_of_atoms(self, atoms: list[tuple[Atom, Fraction]]) -> Sum:
        found = self._algebra.number(1)
        for atom, exponent in atoms:
            if atom.kind == "power" and atom.of is not None:
                found = self._algebra.product(found, self._algebra.power(atom.of, exponent))
            elif exponent:
                found = self._algebra.product(found, self._algebra.atom(atom, exponent))
        return found

    def _slope(self, function: str, u: Sum) -> Sum:
        """The derivative of a function at u."""
        algebra = self._algebra

        def call(name: str) -> Sum:
            return algebra.atom(Atom("call", name, of=u))

        match function:
            case "exp":
                return call("exp")
            case "log":
                return algebra.power(u, Fraction(-1))
            case "sin":
                return call("cos")
            case "cos":
                return algebra.scaled(-1, call("sin"))
            case "softplus":
                return call("sigmoid")
            case "sigmoid":
                y = call("sigmoid")
                return algebra.add(y, algebra.scaled(-1, algebra.product(y, y)))
            case "tanh":
                y = call("tanh")
                return algebra.add(algebra.number(1), algebra.scaled(-1, algebra.product(y, y)))
            case "relu'" | "abs'":
                return algebra.add()
        return call(function + "'")

    def _say_power(self, atom: Atom, exponent: Fraction) -> None:
        if exponent == 1:
            return
        n = label_of_number(exponent)
        less = label_of_number(exponent - 1)
        base = label_of_atom(atom)
        power = "" if exponent == 2 else f"^{{{less.latex}}}"
        low = "u" if exponent == 2 else f"u^{_in_brackets(less.text)}"
        self._say(
            "power rule",
            f"∇u^{_in_brackets(n.text)} = {n.text} {low} ∇u, u = {base.text}",
            f"\\nabla u^{{{n.latex}}} = {n.latex}\\, u{power}\\, \\nabla u, "
            f"\\quad u = {base.latex}",
        )

    def _say(self, name: str, text: str, latex: str) -> None:
        self.rules.setdefault(text, Label(f"{name}: {text}", f"\\text{{{_plain(name)}: }} {latex}"))


def _plain(name: str) -> str:
    """Words alone."""
    return "gradient" if name.startswith("∇") else name


def _in_brackets(text: str) -> str:
    is_sum = any(sign in text for sign in ("/", " + ", " − ", " - ", "frac"))
    return f"({text})" if is_sum or text.startswith(("−", "-")) else text


_U = Sum((Term(Fraction(1), ((Atom("name", "u"), Fraction(1)),), ()),))
