"""Roots: a letter that has several values, by an equation or by a ±, and which of them is meant."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from thalweg._errors import FormulaError
from thalweg.sheet.marking._band import Band, UnknownValueError, exact, overlap
from thalweg.sheet.marking._evaluate import IDENTITIES
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._values import Values
from thalweg.symbolic._expression import Binary, Call, Expression, Operator

MAX_AGE = 8
"""Chains about something else, behind which a letter may have come to mean something else."""

MAX_UNKNOWNS = 4
"""Of a system of equations that is solved by hand."""

_DEGREE = 4
_POINTS = np.cos(np.pi * (2 * np.arange(9) + 1) / 18)
"""Zeros of Chebyshev's T₉, where a polynomial is sampled."""

_OF_ALL = re.compile(r"1\W?2(?:\W?3)?|±")
"""What stands below the letter of all."""

_OF_ROOT = re.compile(r"[1-4]|[+*-]|max|min|opt|star")
"""What stands below the letter of one root; x_0 is where an iteration begins."""

_BEGINNING = re.compile(
    r"\b(?:start\w*|begin\w*|initial\w*|guess|let|choose|take|try|from|at|beginn\w*|wähle\w*|sei|"
    r"probe|bei|anfang\w*|départ|choisi\w*|prenons|soit|essay\w*|en|au point|part\w*)\W*$",
    re.IGNORECASE,
)
"""Words before a value that is chosen, not found."""


@dataclass(frozen=True)
class Root:
    """One of the values.

    Args:
        true: as it should be.
        shown: as the page carries it on.
        is_off: whether the two differ by an error.
    """

    true: Band
    shown: Band
    is_off: bool = False


@dataclass
class _Family:
    roots: tuple[Root, ...]
    turn: int
    age: int = 0
    used: set[int] = field(default_factory=set)


class Roots:
    """Keeps what letters may be, until the page has moved on.

    Args:
        values: what names stand for.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self._ledger = values.ledger
        self._families: dict[str, _Family] = {}
        self._found: set[str] = set()
        self._systems: dict[tuple[int, frozenset[str]], list[Expression]] = {}
        self._zeros: dict[Expression, NDArray[np.float64]] = {}

    def offer(self, key: str, roots: Sequence[Root]) -> None:
        """Says what the letter of a name may be."""
        self._families[_stem(key)] = _Family(tuple(roots), self._ledger.turn)

    def of(self, key: str, before: str = "") -> tuple[Root, ...]:
        """What a name may be: x any root, x_1 one that no other x_i is; () if nothing is known.

        Args:
            key: the name.
            before: the words before it; a value that is chosen is none that was found.
        """
        stem, index = _stem(key), key[len(_stem(key)) :].lstrip("_^")
        family = self._families.get(stem)
        if family is None or family.turn != self._ledger.turn or _BEGINNING.search(before):
            return ()
        if not index or _OF_ALL.fullmatch(index):
            return family.roots
        if not _OF_ROOT.fullmatch(index) or self._ledger.find(key) is not None:
            return ()
        return tuple(root for at, root in enumerate(family.roots) if at not in family.used)

    def is_all(self, key: str) -> bool:
        """Whether a name stands for all roots: x_{1,2}."""
        return bool(_OF_ALL.fullmatch(key[len(_stem(key)) :].lstrip("_^")))

    def was_found(self, names: Iterable[str]) -> bool:
        """Whether the value of one of these names was found by solving an equation."""
        return any(name in self._found for name in names)

    def note(self, key: str | None, shown: Sequence[Band]) -> None:
        """Counts a chain that has come to its end: one more root is named, or time has passed."""
        stem = _stem(key) if key else ""
        for letter, family in list(self._families.items()):
            if letter != stem:
                family.age += 1
            else:
                self._found.add(key or "")
            if letter == stem and key != stem and shown:
                free = (at for at in range(len(family.roots)) if at not in family.used)
                met = (at for at in free if _is_met(family.roots[at], shown[0]))
                family.used.update([found] if (found := next(met, None)) is not None else [])
            if family.age > MAX_AGE or len(family.used) == len(family.roots):
                del self._families[letter]

    def equate(self, left: Expression, right: Expression) -> None:
        """Takes an equation between unknowns; with as many as there are unknowns it is solved.

        Only linear systems are; an equation in one letter is as `solve` says.
        """
        try:
            node = Binary(Operator.MINUS, left, right)
            letters = frozenset(self._values.leaves(node))
        except (UnknownValueError, FormulaError):
            return
        if len(letters) == 1:
            self.solve(node)
        elif 2 <= len(letters) <= MAX_UNKNOWNS:
            equations = self._systems.setdefault((self._ledger.turn, letters), [])
            equations.append(node)
            if len(equations) >= len(letters):
                self._solve_system(equations[-len(letters) :], sorted(letters))

    def _solve_system(self, equations: list[Expression], letters: list[str]) -> None:
        """A x = b, with A and b from values at 0 and at the unit vectors, checked elsewhere."""
        n = len(letters)
        points = np.vstack([np.zeros(n), np.eye(n), 0.7 + 0.9 * np.arange(n)])
        try:
            rows = [[self._value_at(node, letters, p) for p in points] for node in equations]
        except (UnknownValueError, FormulaError):
            return
        sampled = np.array(rows)
        constant, slopes = sampled[:, 0], sampled[:, 1:-1] - sampled[:, :1]
        size = np.max(np.abs(sampled))
        is_linear = np.allclose(constant + slopes @ points[-1], sampled[:, -1], atol=1e-9 * size)
        if not is_linear or abs(np.linalg.det(slopes)) < 1e-9 * size**n:
            return
        for letter, value in zip(letters, np.linalg.solve(slopes, -constant), strict=True):
            doubt = 1e-9 * (1 + abs(value))
            band = Band(float(value - doubt), float(value), float(value + doubt))
            self.offer(letter, [Root(band, band)])

    def _value_at(self, node: Expression, letters: list[str], point: Any) -> float:
        bound = {letter: exact(float(x)) for letter, x in zip(letters, point, strict=True)}
        found = self._values.value(node, View.TRUE, bound=bound)
        if found.shape != ():
            raise UnknownValueError("an equation between vectors")
        return float(found.mid)

    def solve(self, node: Expression) -> None:
        """Takes the real zeros of a polynomial in one letter for what that letter may be.

        Source: companion matrix as in `numpy.roots`; the polynomial by interpolation at Chebyshev
        points, checked at more points than it has coefficients.
        """
        letter = self._letter_of(node)
        if letter is None:
            return
        zeros = self._zeros.get(node)
        if zeros is None:
            zeros = self._zeros_in(node, letter)
            if _is_alone(letter, node):
                # Wherever the page repeats it, it says the same.
                self._zeros[node] = zeros
        self._offer_zeros(letter, zeros)

    def _zeros_in(self, node: Expression, letter: str) -> NDArray[np.float64]:
        """The zeros of a polynomial of degree four at most; none of anything else."""
        none = np.zeros(0)
        samples = []
        for t in _POINTS:
            try:
                found = self._values.value(node, View.TRUE, bound={letter: exact(3 * float(t))})
            except (UnknownValueError, FormulaError):
                return none
            if found.shape != ():
                return none
            samples.append(found.mid)
        fitted = np.polynomial.Polynomial.fit(3 * _POINTS, samples, _DEGREE, domain=[-3, 3])
        size = max(map(abs, samples))
        if size == 0 or np.max(np.abs(fitted(3 * _POINTS) - samples)) > 1e-9 * size:
            return none
        coefficients = fitted.convert().coef
        while len(coefficients) > 1 and abs(coefficients[-1]) < 1e-9 * size:
            coefficients = coefficients[:-1]
        zeros = np.polynomial.Polynomial(coefficients).roots()
        is_real = np.all(np.abs(np.imag(zeros)) <= 1e-6 * (1 + np.abs(zeros)))
        return np.real(zeros) if is_real else none

    def _offer_zeros(self, letter: str, zeros: NDArray[np.float64]) -> None:
        if not len(zeros):
            return
        found_roots = []
        for zero in zeros:
            doubt = 1e-6 * (1 + abs(zero)) if len(zeros) > 1 else 1e-9 * (1 + abs(zero))
            band = Band(float(zero - doubt), float(zero), float(zero + doubt))
            found_roots.append(Root(band, band))
        self.offer(letter, found_roots)

    def _letter_of(self, node: Expression) -> str | None:
        """The one letter that an equation is about."""
        try:
            leaves = self._values.leaves(node) - IDENTITIES
        except UnknownValueError:
            return None
        if len(leaves) == 1:
            return leaves.pop()
        names = node.names - IDENTITIES
        is_plain = not any(isinstance(part, Call) for part in node.walk())
        return next(iter(names)) if not leaves and len(names) == 1 and is_plain else None


def _is_alone(letter: str, node: Expression) -> bool:
    """Whether an expression depends on nothing that the page says but this letter."""
    return node.names - IDENTITIES <= {letter} and not any(
        isinstance(part, Call) for part in node.walk()
    )


def _stem(key: str) -> str:
    """x of x_1; of λ_{1,2} λ."""
    return re.split(r"[_^'(]", key, maxsplit=1)[0]


def _is_met(root: Root, shown: Band) -> bool:
    return overlap(root.true, shown) or overlap(root.shown, shown)
