"""Values: what expressions on a page come to, and derivatives by the page's own definitions."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import numpy as np

from thalweg.sheet.marking._band import Band, UnknownValueError, exact
from thalweg.sheet.marking._digits import Digits, digits_of
from thalweg.sheet.marking._evaluate import Evaluator, Reading
from thalweg.sheet.marking._fields import STEP, Bands, Complex
from thalweg.sheet.marking._ledger import CONSTANTS, Ledger, Quantity, Shown, key_of
from thalweg.symbolic._expression import Binary, Call, Expression, Name, Number
from thalweg.symbolic.paper import Derivative

MAX_EXPANSIONS = 30
"""Definitions within definitions: what evaluation, which calls itself for each, has stack for."""


class View(Enum):
    """From where a quantity is looked at."""

    SHOWN = "as the page carries it on"
    TRUE = "as it should be"


class Values:
    """Computes with what a ledger holds.

    Args:
        ledger: what the page has said so far.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.was_open = False
        self._derived: dict[tuple[Derivative, View], list[Band]] = {}
        self._version = -1

    def value(
        self,
        node: Expression,
        view: View,
        reading: Reading | None = None,
        *,
        is_loose: bool = False,
        swaps_short: bool = False,
        bound: dict[str, Band] | None = None,
    ) -> Band:
        """The value of an expression.

        Args:
            node: what is computed.
            view: carried on from what is shown, or as it should be.
            reading: of what is ambiguous.
            is_loose: numbers that were not shown before may be rounded to their digits.
            swaps_short: numbers of one digit may be copies of results, too.
            bound: values of names for this once.

        Raises:
            UnknownValueError: if something in it has no value.
        """
        source = _BandSource(self, view, reading or Reading(), is_loose, swaps_short, bound or {})
        self.was_open = True
        found = source.evaluator.value(node)
        self.was_open = source.evaluator.was_open
        if not found.is_finite:
            raise UnknownValueError("beyond what float64 holds")
        return found

    def slopes(
        self,
        of: Expression,
        by: Name,
        view: View,
        is_kept: bool,
        bound: dict[str, Band] | None = None,
    ) -> list[Band]:
        """∂of/∂by by the definitions on the page, in the shapes that paper gives it.

        Args:
            of: what is derived.
            by: a name.
            view: where it is derived.
            is_kept: at the values that stand on the page, not at those that follow from the
                parameters.
            bound: values of names for this once.

        Returns:
            One for each convention; empty where the definitions show no dependence.

        Raises:
            UnknownValueError: if something has no value.
        """
        center, place = self._place_of(by, view, bound or {})
        rows, columns = center.shape if center.shape else (1, 1)
        if rows * columns > 400:
            raise UnknownValueError("a derivative by too many entries")
        parts: list[Any] = []
        depends = False
        for i in range(rows):
            for j in range(columns):
                if place is not None and (i, j) != place:
                    continue
                source = _SlopeSource(self, view, is_kept, bound or {})
                start: Any = np.array(center.mid, dtype=complex)
                if center.shape:
                    start[i, j] += 1j * STEP
                else:
                    start = np.complex128(center.mid + 1j * STEP)
                source.start(self._owner_of(by, place), start)
                with np.errstate(all="ignore"):
                    found = source.evaluator.value(of)
                depends = depends or source.was_used
                parts.append(np.imag(found) / STEP)
        if not depends:
            return []
        return [Band(*(part,) * 3) for part in _arranged(parts, rows, columns, place)]

    def _place_of(
        self, by: Name, view: View, bound: dict[str, Band]
    ) -> tuple[Band, tuple[int, int] | None]:
        """Where a derivative is taken: the value of the name, or of the vector it is an entry of."""  # noqa: E501
        if by.text in bound:
            return bound[by.text], None
        if self.ledger.find(by.text) is not None:
            return self.value(by, view, bound=bound), None
        owner = self.owner(by.text)
        if owner is None:
            raise UnknownValueError(f"{by.text} has no value")
        key, place = owner
        return self.value(Name(key), view, bound=bound), place

    def _owner_of(self, by: Name, place: tuple[int, int] | None) -> str:
        if place is None:
            return by.text
        owner = self.owner(by.text)
        assert owner is not None, "found before"
        return owner[0]

    def owner(self, key: str) -> tuple[str, tuple[int, int]] | None:
        """The vector or matrix that a name with a number is an entry of: x_1 of x, w_12 of W."""
        base, _, index = key.partition("_")
        above = ""
        if "^" in index:
            index, above = index.split("^", 1)
            above = "^" + above
        elif "^" in base:
            return None
        parts = index.split("_")
        if not (parts[-1].isdigit() and len(parts[-1]) <= 2):
            return None
        digits = parts[-1]
        stem = "_".join((base, *parts[:-1])) + above
        for name in (stem, stem[0].upper() + stem[1:]):
            found = self.ledger.find(name)
            if found is None or found.params is not None:
                continue
            try:
                shape = self.value(Name(name), View.TRUE).shape
            except UnknownValueError:
                continue
            if shape == ():
                continue
            if len(digits) == 2 and 1 not in shape:
                place = int(digits[0]) - 1, int(digits[1]) - 1
            elif len(digits) == 1 and 1 in shape:
                at = int(digits) - 1
                place = (at, 0) if shape[1] == 1 else (0, at)
            else:
                continue
            if 0 <= place[0] < shape[0] and 0 <= place[1] < shape[1]:
                return name, place
        return None

    def is_tainted(self, node: Expression, depth: int = 0) -> bool:
        """Whether a quantity in it, or a result it copies, is carried on from an error."""
        for part in node.walk():
            if isinstance(part, Number | Binary):
                digits = digits_of(part)
                if digits is not None and any(r.is_wrong for r in self.ledger.results_like(digits)):
                    return True
                continue
            if not isinstance(part, Name | Derivative | Call):
                continue
            keys = [key_of(part)]
            if isinstance(part, Derivative):
                # By definitions alone it depends on all that what is derived depends on.
                if isinstance(part.of, Name) and self.is_tainted(part.of, depth + 1):
                    return True
            if isinstance(part, Call):
                keys.append(part.function.rstrip("'"))
            for key in keys:
                found = self.ledger.find(key) if key else None
                if found is None:
                    owner = self.owner(key) if key and isinstance(part, Name) else None
                    found = self.ledger.find(owner[0]) if owner else None
                if found is None:
                    continue
                if found.is_wrong:
                    return True
                if found.formula is not None and depth < MAX_EXPANSIONS:
                    if self.is_tainted(found.formula, depth + 1):
                        return True
        return False

    def leaves(self, node: Expression, depth: int = 0) -> set[str]:
        """The names that have neither a value nor a formula, through all formulas."""
        found: set[str] = set()
        if depth > MAX_EXPANSIONS:
            raise UnknownValueError("too many definitions within definitions")
        for part in node.walk():
            names: list[str] = []
            if isinstance(part, Name):
                names = [part.text]
            elif isinstance(part, Derivative):
                names = [name.text for name in part.by]
                if not names and isinstance(part.of, Name):
                    whole = self.ledger.quantities.get(part.of.text)
                    names = list(whole.params or ()) if whole is not None else []
            elif isinstance(part, Call):
                stem = part.function.rstrip("'")
                known = self.ledger.quantities.get(part.function) or self.ledger.quantities.get(
                    stem
                )
                if known is not None and known.formula is not None and known.params is not None:
                    found |= self.leaves(known.formula, depth + 1) - set(known.params)
            for name in names:
                quantity = self.ledger.find(name)
                if quantity is None:
                    if name not in CONSTANTS and self.owner(name) is None:
                        found.add(name)
                elif quantity.shown is None and quantity.true is None and quantity.formula:
                    found |= self.leaves(quantity.formula, depth + 1) - set(quantity.params or ())
        return found

    def derivatives(
        self, node: Derivative, view: View, bound: dict[str, Band] | None = None
    ) -> list[Band]:
        """A derivative by the definitions on the page, once for each convention paper has.

        Raises:
            UnknownValueError: if something has no value.
        """
        if bound:
            return self._derivatives(node, view, bound)
        if self._version != self.ledger.version:
            self._derived.clear()
            self._version = self.ledger.version
        if (node, view) not in self._derived:
            self._derived[node, view] = self._derivatives(node, view, {})
        return self._derived[node, view]

    def _derivatives(self, node: Derivative, view: View, bound: dict[str, Band]) -> list[Band]:
        of = node.of
        by = node.by
        if isinstance(of, Name) and not by:
            function = self.ledger.quantities.get(of.text)
            if function is not None and function.params and len(function.params) == 1:
                by = (Name(function.params[0]),) * node.order
            elif function is not None and function.params and node.order == 1:
                letters = [self.value(Name(p), view, bound=bound) for p in function.params]
                return [self.gradient_at(function, letters, view, bound)]
        if isinstance(of, Call) and not by:
            function = self.ledger.quantities.get(of.function)
            if function is not None and function.params is not None:
                args = [self.value(arg, view, bound=bound) for arg in of.args]
                if len(args) == 1 and args[0].shape == ():
                    return [self.slope_at(function, args[0], node.order, view)]
                if node.order == 1:
                    return [self.gradient_at(function, args, view, bound)]
        if not by:
            raise UnknownValueError("∇ of what depends on nothing that is said")
        if node.order == 2 and len({name.text for name in by}) == 1:
            function = Quantity(formula=self._body_of(of), params=(by[0].text,))
            at = self.value(by[0], view, bound=bound)
            return [self.slope_at(function, at, 2, view)]
        if node.order != 1:
            raise UnknownValueError("a derivative of higher order")
        found: list[Band] = []
        for is_kept in (False, True):
            found += self.slopes(of, by[0], view, is_kept, bound)
        direct = self._body_of(of)
        if direct is not of and by[0].text in direct.names:
            found += self._direct_slope(direct, by[0], view, bound)
        return _distinct(found)

    def _direct_slope(
        self, body: Expression, by: Name, view: View, bound: dict[str, Band]
    ) -> list[Band]:
        """∂ of one formula, with all its other letters held."""
        held = dict(bound)
        for text in body.names - {by.text}:
            try:
                held[text] = self.value(Name(text), view, bound=bound)
            except UnknownValueError:
                return []
        try:
            return self.slopes(body, by, view, False, held)
        except UnknownValueError:
            return []

    def slope_at(self, function: Quantity, at: Band, order: int, view: View) -> Band:
        """The derivative of a function that the page defines, of order 1 or 2, at a number."""
        if at.shape != () or order > 2 or function.formula is None or not function.params:
            raise UnknownValueError("a derivative that is not computed")
        letter = function.params[0]

        def slope(x: float) -> float:
            source = _SlopeSource(self, view, False, {})
            source.start(letter, np.complex128(x + 1j * STEP))
            with np.errstate(all="ignore"):
                found = source.evaluator.value(function.formula)  # type: ignore[arg-type]
            if np.shape(found) != ():
                raise UnknownValueError("the derivative of a vector")
            return float(np.imag(found) / STEP)

        def bend(x: float) -> float:
            h = 1e-3 * max(1.0, abs(x))
            return (8 * (slope(x + h) - slope(x - h)) - (slope(x + 2 * h) - slope(x - 2 * h))) / (
                12 * h
            )

        f = slope if order == 1 else bend
        ends = [f(end) for end in ({at.low, at.high} if at.low != at.high else set())]
        mid = f(at.mid)
        doubt = (1e-14 if order == 1 else 1e-9) * max(1.0, abs(mid))
        return Band(min(mid, *ends, mid) - doubt, mid, max(mid, *ends, mid) + doubt)

    def gradient_at(
        self, function: Quantity, at: Sequence[Band], view: View, bound: dict[str, Band]
    ) -> Band:
        """The gradient of a function that the page defines, by a vector or by several numbers."""
        params = function.params or ()
        if function.formula is None or len(params) != len(at):
            raise UnknownValueError("a function of other arguments")
        if len(at) > 1 and any(each.shape for each in at):
            raise UnknownValueError("a gradient by several vectors")
        held = {**bound, **dict(zip(params, at, strict=True))}
        parts: list[float] = []
        for letter, center in zip(params, at, strict=True):
            for place in np.ndindex(center.shape):
                start: Any = np.array(center.mid, dtype=complex)
                start[place] += 1j * STEP
                source = _SlopeSource(self, view, False, held)
                source.start(letter, start if center.shape else np.complex128(start))
                with np.errstate(all="ignore"):
                    found = source.evaluator.value(function.formula)
                if np.shape(found) != ():
                    raise UnknownValueError("the gradient of a vector")
                parts.append(float(np.imag(found) / STEP))
        shape = at[0].shape if len(at) == 1 else (len(parts), 1)
        gradient = np.array(parts).reshape(shape)
        doubt = 1e-14 * np.maximum(1.0, np.abs(gradient))
        return Band(gradient - doubt, gradient, gradient + doubt)

    def _body_of(self, of: Expression) -> Expression:
        """The formula of a name, where it has one."""
        if isinstance(of, Name):
            found = self.ledger.find(of.text)
            if found is not None and found.formula is not None:
                return found.formula
        return of


class _Source:
    """What both kinds of evaluation share: definitions within definitions, to a depth."""

    def __init__(self, values: Values) -> None:
        self._values = values
        self._ledger = values.ledger
        self._depth = 0

    def spend(self) -> None:
        self._ledger.spend()

    def _enter(self) -> None:
        self._depth += 1
        if self._depth > MAX_EXPANSIONS:
            raise UnknownValueError("too many definitions within definitions")


class _BandSource(_Source):
    """Values as bands."""

    def __init__(
        self,
        values: Values,
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


class _SlopeSource(_Source):
    """Values with a derivative: formulas are followed wherever there are some."""

    def __init__(self, values: Values, view: View, is_kept: bool, bound: dict[str, Band]) -> None:
        super().__init__(values)
        self._view = view
        self._is_kept = is_kept
        self._bound: dict[str, Any] = {key: _complex(band) for key, band in bound.items()}
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
        return _complex(stored)

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


def _complex(band: Band) -> Any:
    return np.asarray(band.mid, dtype=complex) if band.shape else np.complex128(band.mid)


def _arranged(
    parts: Sequence[Any], rows: int, columns: int, place: tuple[int, int] | None
) -> list[Any]:
    """Derivatives by every entry, in the shapes that paper gives them."""
    if place is not None or (rows, columns) == (1, 1):
        return [float(parts[0]) if np.shape(parts[0]) == () else parts[0]]
    if np.shape(parts[0]) == ():
        return [np.array(parts, dtype=float).reshape(rows, columns)]
    if 1 not in np.shape(parts[0]) or 1 not in (rows, columns):
        raise UnknownValueError("the derivative of a matrix or by a matrix, of many entries")
    jacobian = np.stack([np.ravel(part) for part in parts], axis=1)
    found = [jacobian, jacobian.T]
    if jacobian.shape[0] == jacobian.shape[1]:
        diagonal = np.diag(jacobian)
        if np.array_equal(np.diag(diagonal), jacobian):
            found.append(diagonal.reshape(-1, 1))
    return found


def _distinct(bands: list[Band]) -> list[Band]:
    found: list[Band] = []
    for band in bands:
        if not any(
            band.shape == other.shape and bool(np.all(band.mid == other.mid)) for other in found
        ):
            found.append(band)
    return found
