"""Terms: sums of products of numbers, vectors and matrices in one normal form.

A term is a coefficient times atoms that are numbers times a chain of factors: nothing (a number), a
vector, a row or a matrix. Scalar products in a chain are atoms: wᵀ A w, ‖w‖² = wᵀ w.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from thalweg._errors import FormulaError
from thalweg.symbolic._kinds import Kind

MAX_TERMS = 400
MAX_POWER = 64


@dataclass(frozen=True)
class Factor:
    """One factor of a chain.

    Args:
        name: of a vector or matrix; "" for what `expected` is.
        is_transposed: whether it is.
        is_vector: whether it is a vector, or a row where it is transposed.
        expected: E of a sum of vectors or matrices.
    """

    name: str
    is_transposed: bool
    is_vector: bool
    expected: Sum | None = None

    def transposed(self) -> Factor:
        """The factor lying, or standing again."""
        return Factor(self.name, not self.is_transposed, self.is_vector, self.expected)


@dataclass(frozen=True)
class Atom:
    """A number that is not taken apart.

    Args:
        kind: "name", "chain" of a scalar product, "call" of a function, "power" of a sum, "mean".
        name: of the number, or of the function with its primes.
        chain: of the scalar product.
        of: what the function or E is taken of, or the base of the power.
    """

    kind: str
    name: str = ""
    chain: tuple[Factor, ...] = ()
    of: Sum | None = None


@dataclass(frozen=True)
class Term:
    """A coefficient times powers of atoms times a chain.

    Args:
        coefficient: exactly.
        atoms: with their exponents, in one order.
        chain: empty where the term is a number.
    """

    coefficient: Fraction
    atoms: tuple[tuple[Atom, Fraction], ...]
    chain: tuple[Factor, ...]

    @property
    def kind(self) -> Kind:
        """Number, vector, row or matrix."""
        if not self.chain:
            return Kind.NUMBER
        opens, closes = self.chain[0], self.chain[-1]
        is_row = _is_row(opens)
        is_column = closes.is_vector and not closes.is_transposed
        if is_row:
            return Kind.NUMBER if is_column else Kind.ROW
        return Kind.VECTOR if is_column else Kind.MATRIX


@dataclass(frozen=True)
class Sum:
    """A sum of terms, like ones put together.

    Args:
        terms: in one order.
    """

    terms: tuple[Term, ...]

    @property
    def is_zero(self) -> bool:
        """Whether nothing is left."""
        return not self.terms

    @property
    def kind(self) -> Kind:
        """That of its terms."""
        return self.terms[0].kind if self.terms else Kind.NUMBER

    @property
    def number(self) -> Fraction | None:
        """The value of a sum that is a constant."""
        if not self.terms:
            return Fraction(0)
        if len(self.terms) == 1 and not self.terms[0].atoms and not self.terms[0].chain:
            return self.terms[0].coefficient
        return None

    def depends_on(self, name: str) -> bool:
        """Whether a vector of that name is in it, at any depth."""
        return any(
            any(_holds(factor, name) for factor in term.chain)
            or any(_depends(atom, name) for atom, _ in term.atoms)
            for term in self.terms
        )


def _holds(factor: Factor, name: str) -> bool:
    return factor.name == name or (factor.expected is not None and factor.expected.depends_on(name))


def _depends(atom: Atom, name: str) -> bool:
    return (
        atom.name == name
        or any(_holds(factor, name) for factor in atom.chain)
        or (atom.of is not None and atom.of.depends_on(name))
    )


class Algebra:
    """Sums and products in normal form.

    Args:
        symmetric: names of matrices that are their own transpose.
    """

    def __init__(self, symmetric: frozenset[str] = frozenset()) -> None:
        self.symmetric = symmetric

    def number(self, value: Fraction | int) -> Sum:
        """A constant."""
        return self._collected([Term(Fraction(value), (), ())])

    def atom(self, atom: Atom, exponent: Fraction = Fraction(1)) -> Sum:
        """An atom alone."""
        return Sum((Term(Fraction(1), ((atom, exponent),), ()),))

    def factor(self, factor: Factor) -> Sum:
        """A vector or matrix alone."""
        return Sum((Term(Fraction(1), (), (self._normal(factor),)),))

    def add(self, *sums: Sum) -> Sum:
        """The sum."""
        return self._collected(term for part in sums for term in part.terms)

    def scaled(self, value: Fraction | int, of: Sum) -> Sum:
        """A constant times a sum."""
        return self._collected(
            Term(term.coefficient * value, term.atoms, term.chain) for term in of.terms
        )

    def product(self, a: Sum, b: Sum) -> Sum:
        """The product, taken out of brackets.

        Raises:
            FormulaError: if it has more than 400 terms.
        """
        if len(a.terms) * len(b.terms) > MAX_TERMS:
            raise FormulaError(
                f"the formula comes to more than {MAX_TERMS} terms when multiplied out; derive its "
                f"parts one by one"
            )
        return self._collected(self._multiplied(s, t) for s in a.terms for t in b.terms)

    def transposed(self, of: Sum) -> Sum:
        """The transpose."""
        return self._collected(
            Term(
                term.coefficient,
                term.atoms,
                tuple(self._normal(factor.transposed()) for factor in reversed(term.chain)),
            )
            for term in of.terms
        )

    def power(self, base: Sum, exponent: Fraction) -> Sum:
        """A number to a power; whole powers of sums are kept, so that the chain rule can be shown.

        Raises:
            FormulaError: if the exponent is beyond 64.
        """
        if abs(exponent) > MAX_POWER:
            raise FormulaError(f"the exponent {exponent} is beyond {MAX_POWER}; take a smaller one")
        if exponent == 0:
            return self.number(1)
        if exponent == 1:
            return base
        value = base.number
        if value is not None and exponent.denominator == 1 and (value or exponent > 0):
            return self.number(value**exponent.numerator)
        if len(base.terms) == 1:
            (term,) = base.terms
            root = _root(term.coefficient, exponent)
            # (c²)^½ is |c|; of ‖w‖² it is ‖w‖.
            is_safe = exponent.denominator == 1 or all(_is_square(atom) for atom, _ in term.atoms)
            if not term.chain and root is not None and is_safe:
                atoms = tuple((atom, e * exponent) for atom, e in term.atoms)
                return self._collected([Term(root, atoms, ())])
        if exponent.denominator == 1 and exponent == 2 and len(base.terms) <= 3:
            return self.product(base, base)
        return self.atom(Atom("power", of=base), exponent)

    def _multiplied(self, s: Term, t: Term) -> Term:
        chain, atoms = list(s.chain), dict(s.atoms)
        for atom, exponent in t.atoms:
            atoms[atom] = atoms.get(atom, Fraction(0)) + exponent
        chain += t.chain
        kept, found = self._split(chain)
        for atom in found:
            atoms[atom] = atoms.get(atom, Fraction(0)) + 1
        return Term(s.coefficient * t.coefficient, _ordered(atoms), tuple(kept))

    def _split(self, chain: list[Factor]) -> tuple[list[Factor], list[Atom]]:
        """Takes scalar products out of a chain: from each row to the column that closes it."""
        kept: list[Factor] = []
        atoms: list[Atom] = []
        opened: int | None = None
        for factor in chain:
            kept.append(factor)
            if _is_row(factor):
                opened = len(kept) - 1
            elif factor.is_vector and opened is not None:
                atoms.append(self._scalar(tuple(kept[opened:])))
                del kept[opened:]
                opened = next((i for i in reversed(range(len(kept))) if _is_row(kept[i])), None)
        return kept, atoms

    def _scalar(self, chain: tuple[Factor, ...]) -> Atom:
        """A scalar product, in the one of its two orders that comes first."""
        turned = tuple(self._normal(factor.transposed()) for factor in reversed(chain))
        return Atom("chain", chain=min(chain, turned, key=_key_of_chain))

    def _normal(self, factor: Factor) -> Factor:
        if factor.name in self.symmetric and not factor.is_vector:
            return Factor(factor.name, False, False, factor.expected)
        if factor.name == IDENTITY:
            return Factor(IDENTITY, False, False)
        return factor

    def _collected(self, terms: Iterable[Term]) -> Sum:
        found: dict[tuple[tuple[tuple[Atom, Fraction], ...], tuple[Factor, ...]], Fraction] = {}
        for term in terms:
            chain = tuple(f for f in term.chain if f.name != IDENTITY)
            key = (term.atoms, chain or term.chain[:1])
            found[key] = found.get(key, Fraction(0)) + term.coefficient
        if len(found) > MAX_TERMS:
            raise FormulaError(f"the formula comes to more than {MAX_TERMS} terms; make it smaller")
        return Sum(tuple(Term(c, atoms, chain) for (atoms, chain), c in found.items() if c))


IDENTITY = "I"
"""The identity matrix, which products swallow."""


def identity() -> Factor:
    """I."""
    return Factor(IDENTITY, False, False)


def _is_square(atom: Atom) -> bool:
    """Whether it is some wᵀ w."""
    chain = atom.chain
    return len(chain) == 2 and chain[0].transposed() == chain[1]


def _is_row(factor: Factor) -> bool:
    return factor.is_vector and factor.is_transposed


def _ordered(atoms: Mapping[Atom, Fraction]) -> tuple[tuple[Atom, Fraction], ...]:
    items = [(atom, exponent) for atom, exponent in atoms.items() if exponent]
    return tuple(sorted(items, key=lambda item: repr(item[0])))


def _key_of_chain(chain: tuple[Factor, ...]) -> tuple[int, str]:
    num_transposed = sum(f.is_transposed for f in chain if not f.is_vector)
    return (num_transposed, repr([(f.name, f.is_transposed) for f in chain]))


def _root(value: Fraction, exponent: Fraction) -> Fraction | None:
    """A constant to a power, where that is a fraction again."""
    if exponent.denominator == 1:
        return value**exponent.numerator if value else None
    if value == 1:
        return value
    if value < 0 or exponent.denominator != 2:
        return None
    roots = [round(n**0.5) for n in (value.numerator, value.denominator)]
    if roots[0] ** 2 != value.numerator or roots[1] ** 2 != value.denominator:
        return None
    return Fraction(*roots) ** exponent.numerator
