"""Sources: where evaluation gets its values on a page, as bands or with a derivative."""

from __future__ import annotations

from enum import Enum
from typing import Any, Protocol, runtime_checkable

import numpy as np

from thalweg.sheet.marking._algebra import Reading
from thalweg.sheet.marking._band import Band, UnknownValueError, exact
from thalweg.sheet.marking._digits import Digits
from thalweg.sheet.marking._evaluate import Evaluator
from thalweg.sheet.marking._fields import Bands, Complex
from thalweg.sheet.marking._ledger import CONSTANTS, Ledger, Quantity, Shown, key_of
from thalweg.symbolic._expression import Call, Expression
from thalweg.symbolic.paper import Derivative

MAX_EXPANSIONS = 30
"""Definitions within definitions: what evaluation, which calls itself for each, has stack for."""


class View(Enum):
    """From where a quantity is looked at."""

    SHOWN = "as the page carries it on"
    TRUE = "as it should be"


@runtime_checkable
class Lookup(Protocol):
    """What is asked of all that a page has said."""

    @property
    def ledger(self) -> Ledger:
        """What the page has said so far."""

    def value(
        self,
        node: Expression,
        view: View,
        reading: Reading | None = None,
        *,
        bound: dict[str, Band] | None = None,
    ) -> Band:
        """The value of an expression."""

    def owner(self, key: str) -> tuple[str, tuple[int, int]] | None:
        """The vector or matrix that a name with a number is an entry of."""

    def derivatives(
        self, node: Derivative, view: View, bound: dict[str, Band] | None = None
    ) -> list[Band]:
        """A derivative by the definitions on the page."""

    def slope_at(self, function: Quantity, at: Band, order: int, view: View) -> Band:
        """The derivative of a function that the page defines, at a number."""


class _Source:
    """What both kinds of evaluation share: definitions within definitions, to a depth."""

    def __init__(self, values: Lookup) -> None:
        self._values = values
        self._ledger = values.ledger
        self._depth = 0

    def spend(self) -> None:
        self._ledger.spend()

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_EXPANSIONS:
            raise UnknownValueError("too many definitions within definitions")


class BandSource(_Source):
    """Values as bands."""

    def __init__(
        self,
        values: Lookup,
        view: View,
        reading: Reading,
        is_loose: bool,
        swaps_short: bool,
        bound: dict[str, Band],
    ) -> None:
        super().__init__(values)
        self._view = view
        self._is_loose = is_loose
        self._swaps_short = swaps_short
        self._bound = bound
        self.evaluator: Evaluator[Band] = Evaluator(Bands(), self, reading)

    def name(self, text: str) -> Band:
        if text in self._bound:
            return self._bound[text]
        quantity = self._ledger.find(text)
        if quantity is None:
            owner = self._values.owner(text)
            if owner is not None:
                return self.name(owner[0]).entry(*owner[1])
            if text in CONSTANTS:
                return exact(CONSTANTS[text])
            raise UnknownValueError(f"{text} has no value")
        stored = quantity.shown if self._view is View.SHOWN else quantity.true
        if stored is not None:
            return stored
        if quantity.formula is None or (quantity.params and quantity.params[0] not in self._bound):
            raise UnknownValueError(f"{text} has no value")
        self._enter()
        try:
            return self.evaluator.value(quantity.formula)
        finally:
            self._depth -= 1

    def number(self, digits: Digits) -> Band:
        results = self._ledger.results_like(digits)
        is_given = self._ledger.is_given_number(digits)
        if digits.significant == 1 and not self._swaps_short:
            # A single digit is too often the same by chance to be a copy of what is wrong.
            results = [r for r in results if not (r.is_wrong and self._view is View.TRUE)]
        if not results:
            if self._is_loose and digits.significant >= 2 and digits.place < 1 and not is_given:
                return digits.band
            return digits.band if digits.is_cut else exact(digits.value)
        copied = self._copied(digits, results)
        if is_given and not self._swaps_short:
            return copied.hull(exact(digits.value))
        return copied

    def _copied(self, digits: Digits, results: list[Shown]) -> Band:
        """What digits stand for that were shown before."""
        found: Band | None = None
        for result in results:
            sign = 1.0 if (result.digits.value >= 0) == (digits.value >= 0) else -1.0
            if self._view is View.TRUE:
                band = _signed(result.true, sign)
                part = Band(band.low, band.mid, band.high)
            else:
                band = _signed(result.shown, sign)
                low = max(band.low, digits.band.low)
                high = min(band.high, digits.band.high)
                part = exact(digits.value)
                if low <= high:
                    part = Band(min(low, part.low), digits.value, max(high, part.high))
            found = part if found is None else found.hull(part)
        assert found is not None, "there are results"
        return found

    def call(self, function: str, args: tuple[Band, ...]) -> Band:
        ledger = self._ledger
        key = f"{function}({', '.join(_argument_text(a) for a in args)})"
        claimed = ledger.quantities.get(key)
        if claimed is not None and self._view is View.SHOWN and claimed.shown is not None:
            return claimed.shown
        stem = function.rstrip("'")
        order = len(function) - len(stem)
        base = ledger.quantities.get(stem)
        own = ledger.quantities.get(function) if order else None
        if (
            own is not None
            and own.params is not None
            and (self._view is View.SHOWN or base is None or base.params is None)
        ):
            return self._applied(own, args)
        if base is None:
            if order:
                raise UnknownValueError(f"{function} is not defined")
            raise UnknownValueError(f"{function} is not known")
        if base.params is None:
            if order == 0 and base.shown is not None:
                return base.shown if self._view is View.SHOWN else base.true or base.shown
            if order == 0 and base.formula is not None:
                return self.name(stem)
            raise UnknownValueError(f"{function} is no function")
        if order == 0:
            return self._applied(base, args)
        if len(args) != 1 or len(base.params) != 1:
            raise UnknownValueError("a derivative by which argument")
        return self._values.slope_at(base, args[0], order, self._view)

    def _applied(self, function: Quantity, args: tuple[Band, ...]) -> Band:
        params = function.params or ()
        if function.formula is None or len(params) != len(args):
            raise UnknownValueError("a function of other arguments")
        kept = dict(self._bound)
        self._enter()
        try:
            self._bound = {**kept, **dict(zip(params, args, strict=True))}
            return self.evaluator.value(function.formula)
        finally:
            self._bound = kept
            self._depth -= 1

    def activated(self, node: Call) -> Band | None:
        """What a name with the value of that function carries on: the h of σ(z)."""
        if self._view is View.TRUE:
            return None
        key = self._ledger.activated.get(node)
        found = self._ledger.quantities.get(key) if key else None
        return None if found is None else found.shown

    def derivative(self, node: Derivative) -> Band:
        ledger = self._ledger
        key = key_of(node)
        claimed = ledger.quantities.get(key) if key else None
        if claimed is not None and claimed.params is None:
            stored = claimed.shown if self._view is View.SHOWN else claimed.true
            if stored is not None:
                return stored
        found = self._values.derivatives(node, self._view, self._bound)
        if not found:
            raise UnknownValueError("a derivative of which nothing is defined")
        return found[0]


class SlopeSource(_Source):
    """Values with a derivative: formulas are followed wherever there are some."""

    def __init__(self, values: Lookup, view: View, is_kept: bool, bound: dict[str, Band]) -> None:
        super().__init__(values)
        self._view = view
        self._is_kept = is_kept
        self._bound: dict[str, Any] = {key: complex_of(band) for key, band in bound.items()}
        self._known: dict[str, Any] = {}
        self._started = ""
        self.was_used = False
        self.evaluator: Evaluator[Any] = Evaluator(Complex(), self)

    def start(self, key: str, value: Any) -> None:
        """Says which name the derivative is taken by."""
        self._started = key
        self._known[key] = value
        self._bound.pop(key, None)

    def name(self, text: str) -> Any:
        if text in self._bound:
            return self._bound[text]
        if text in self._known:
            self.was_used = self.was_used or text == self._started
            return self._known[text]
        found = self._looked_up(text)
        self._known[text] = found
        return found

    def _looked_up(self, text: str) -> Any:
        ledger = self._ledger
        quantity = ledger.find(text)
        if quantity is None:
            owner = self._values.owner(text)
            if owner is not None:
                whole, place = self.name(owner[0]), owner[1]
                if np.ndim(whole) != 2 or any(np.array(place) >= np.shape(whole)):
                    raise UnknownValueError("an entry that is not there")
                return whole[place]
            if text in CONSTANTS:
                return np.complex128(CONSTANTS[text])
            raise UnknownValueError(f"{text} has no value")
        if quantity is ledger.find(self._started):
            return self.name(self._started)
        if quantity.is_opaque:
            raise UnknownValueError(f"what {text} depends on is not said")
        if quantity.formula is not None:
            self._enter()
            try:
                found = self.evaluator.value(quantity.formula)
            finally:
                self._depth -= 1
            stored = quantity.shown if self._view is View.SHOWN else quantity.true
            if self._is_kept and stored is not None and stored.shape == np.shape(found):
                found = stored.mid + 1j * np.imag(found)
            return found
        stored = quantity.shown if self._view is View.SHOWN else quantity.true
        if stored is None:
            raise UnknownValueError(f"{text} has no value")
        return complex_of(stored)

    def number(self, digits: Digits) -> Any:
        return np.complex128(digits.value)

    def call(self, function: str, args: tuple[Any, ...]) -> Any:
        ledger = self._ledger
        found = ledger.quantities.get(function)
        if found is None:
            raise UnknownValueError(f"{function} is not known")
        if found.params is None:
            return self.name(function)
        if found.formula is None or len(found.params) != len(args):
            raise UnknownValueError("a function of other arguments")
        kept = dict(self._bound)
        self._enter()
        try:
            self._bound = {**kept, **dict(zip(found.params, args, strict=True))}
            return self.evaluator.value(found.formula)
        finally:
            self._bound = kept
            self._depth -= 1

    def activated(self, node: Call) -> Any:
        return None

    def derivative(self, node: Derivative) -> Any:
        raise UnknownValueError("a derivative of a derivative")


def _argument_text(value: Any) -> str:
    """An argument as `key_of` writes one."""
    return repr(float(value.mid)) if value.shape == () else "?"


def _signed(band: Band, sign: float) -> Band:
    if sign > 0:
        return band
    return Band(-band.high, -band.mid, -band.low)


def complex_of(band: Band) -> Any:
    return np.asarray(band.mid, dtype=complex) if band.shape else np.complex128(band.mid)
