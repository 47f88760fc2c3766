"""Ledger: what a page has said so far, each quantity as it was shown and as it should be."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from thalweg.sheet.marking._band import Band
from thalweg.sheet.marking._digits import Digits, digits_of
from thalweg.symbolic._expression import Call, Expression, Name
from thalweg.symbolic.paper import Derivative


class BudgetSpentError(Exception):
    """More was to be computed than a page is given."""


@dataclass
class Quantity:
    """A name on the page.

    Args:
        formula: how it is computed from others; None if only numbers were given.
        params: the letters of a function.
        shown: what the page carries on; None before it shows a value.
        true: what it should be.
        is_wrong: what is carried on is not what it should be.
        is_given: a number without a computation.
        is_opaque: computed from numbers alone, so that nothing is known of what it depends on.
        turn: the part of the page, counted by headings and iterations, where it was last said.
        epoch: how often quantities had changed by then.
        line: where.
    """

    formula: Expression | None = None
    params: tuple[str, ...] | None = None
    shown: Band | None = None
    true: Band | None = None
    is_wrong: bool = False
    is_given: bool = False
    is_opaque: bool = False
    is_from_problem: bool = False
    turn: int = 0
    epoch: int = 0
    line: int = 0


@dataclass(frozen=True)
class Shown:
    """A result that stands on the page, with or without a name."""

    digits: Digits
    shown: Band
    true: Band
    is_wrong: bool


@dataclass
class Ledger:
    """Everything said so far."""

    quantities: dict[str, Quantity] = field(default_factory=dict)
    work_left: int = 3_000_000
    turn: int = 0
    epoch: int = 0
    has_wrong: bool = False
    version: int = 0
    activated: dict[Expression, str] = field(default_factory=dict)
    _results: dict[tuple[int, int], list[Shown]] = field(default_factory=dict)
    _texts: dict[float, list[Shown]] = field(default_factory=dict)
    _givens: set[tuple[float, float]] = field(default_factory=set)
    _families: dict[str, list[str]] = field(default_factory=dict)

    # What the parser asks

    def is_value(self, name: str) -> bool:
        """Whether a name stands for a number, a vector or a matrix."""
        found = self.quantities.get(name)
        return found is not None and found.params is None

    def is_function(self, name: str) -> bool:
        """Whether a name stands for a function that was defined."""
        found = self.quantities.get(name)
        return found is not None and found.params is not None

    def num_arguments(self, name: str) -> int:
        """How many letters the definition of a function has; 0 of anything else."""
        found = self.quantities.get(name)
        return len(found.params or ()) if found is not None else 0

    # Names

    def put(self, key: str, quantity: Quantity) -> None:
        """Writes down what a name stands for from here on."""
        if key not in self.quantities:
            self._families.setdefault(stem_of(key), []).append(key)
        elif self.quantities[key].shown is not None:
            self.epoch += 1
        if isinstance(quantity.formula, Call):
            self.activated[quantity.formula] = key
        self.version += 1
        quantity.turn, quantity.epoch = self.turn, self.epoch
        self.quantities[key] = quantity

    def restore(self, quantities: dict[str, Quantity], epoch: int) -> None:
        """Forgets what was written down since these were all."""
        self.quantities = quantities
        self.epoch = epoch
        self.version += 1

    def find(self, key: str) -> Quantity | None:
        """The quantity of a name, under another spelling of it where there is no doubt."""
        found = self.quantities.get(key)
        if found is not None:
            return found
        for other in _other_spellings(key):
            if other in self.quantities:
                return self.quantities[other]
        return None

    def family(self, key: str) -> Iterator[tuple[str, Quantity]]:
        """Names of the same letter with another index: x and x_0, x_1, …; the latest first."""
        for other in reversed(self._families.get(stem_of(key), [])[-12:]):
            if other != key and other in self.quantities:
                yield other, self.quantities[other]

    # Results

    def record(self, digits: Digits, shown: Band, true: Band, is_wrong: bool) -> None:
        """Writes down a result that is displayed, so that its digits are known later."""
        result = Shown(digits, shown, true, is_wrong)
        if digits.significant >= 3:
            for value in {abs(digits.value), abs(true.mid)}:
                if value > 0 and math.isfinite(value):
                    self._results.setdefault(_bucket(value), []).append(result)
        self._texts.setdefault(abs(digits.value), []).append(result)

    def results_like(self, digits: Digits) -> list[Shown]:
        """Results of which these digits may be a copy, rounded or not."""
        value = abs(digits.value)
        same = [
            r for r in self._texts.get(value, [])[-4:]
            if r.digits.place == digits.place or digits.significant >= 2
        ]  # fmt: skip
        if same or digits.significant < 3 or value == 0:
            return same
        found = []
        for near in _neighbours(*_bucket(value)):
            for result in self._results.get(near, [])[-4:]:
                gap = min(abs(abs(result.digits.value) - value), abs(abs(result.true.mid) - value))
                if gap <= digits.place / 2 * (1 + 1e-9):
                    found.append(result)
        return found

    def give(self, digits: Digits) -> None:
        """Writes down a number that is given, so that its digits are known to be all."""
        self._givens.add((abs(digits.value), digits.place))

    def is_given_number(self, digits: Digits) -> bool:
        """Whether a number was given on the page as it is."""
        return (abs(digits.value), digits.place) in self._givens

    def spend(self) -> None:
        """Counts one step of computing.

        Raises:
            BudgetSpentError: when a page has had all it gets.
        """
        self.work_left -= 1
        if self.work_left < 0:
            raise BudgetSpentError


CONSTANTS = {"pi": math.pi, "e": math.e, "infinity": math.inf}
"""Letters that need no value."""


def stem_of(key: str) -> str:
    """The letter of a name: x of x_0."""
    return re.split(r"[_^'(]", key, maxsplit=1)[0]


def key_of(node: Expression) -> str | None:
    """How a quantity is written down: a name, ∂L/∂w, f'(x_0); None for anything else."""
    if isinstance(node, Name):
        return node.text
    if isinstance(node, Derivative):
        of = key_of(node.of)
        by = " ".join(name.text for name in node.by)
        return None if of is None else f"∂{node.order} {of} / {by}"
    if isinstance(node, Call):
        args = [_argument_of(arg) for arg in node.args]
        if any(arg is None for arg in args):
            return None
        return f"{node.function}({', '.join(str(arg) for arg in args)})"
    return None


def _argument_of(node: Expression) -> str | None:
    if isinstance(node, Name):
        return node.text
    digits = digits_of(node)
    return None if digits is None else repr(digits.value)


def _other_spellings(key: str) -> Iterator[str]:
    """W^1 may be W_1, and y_pred ŷ."""
    if key.count("^") == 1 and "_" not in key:
        yield key.replace("^", "_")
    elif key.count("_") == 1 and "^" not in key and key[-1].isdigit():
        yield key.replace("_", "^")
    if key in ("y_hat", "y_pred"):
        yield "y_pred" if key == "y_hat" else "y_hat"


def _bucket(value: float) -> tuple[int, int]:
    """The first three digits of a positive number, and their place."""
    exponent = math.floor(math.log10(value))
    mantissa = round(value / 10.0 ** (exponent - 2)) if exponent > -300 else 0
    return (exponent + 1, 100) if mantissa >= 1000 else (exponent, mantissa)


def _neighbours(exponent: int, mantissa: int) -> tuple[tuple[int, int], ...]:
    below = (exponent - 1, 999) if mantissa <= 100 else (exponent, mantissa - 1)
    above = (exponent + 1, 100) if mantissa >= 999 else (exponent, mantissa + 1)
    return below, (exponent, mantissa), above
