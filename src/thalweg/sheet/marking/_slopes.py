"""Slopes: derivatives by the page's own definitions, in the shapes that paper gives them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from thalweg.sheet.marking._band import Band, UnknownValueError
from thalweg.sheet.marking._fields import STEP
from thalweg.sheet.marking._ledger import Quantity
from thalweg.sheet.marking._page_sources import Lookup, SlopeSource, View
from thalweg.symbolic._expression import Call, Expression, Name
from thalweg.symbolic.paper import Derivative


class Slopes:
    """Takes derivatives with a step along the imaginary axis, which loses no digits.

    Args:
        values: what names stand for.
    """

    def __init__(self, values: Lookup) -> None:
        self._values = values
        self._ledger = values.ledger

    def derivatives(self, node: Derivative, view: View, bound: dict[str, Band]) -> list[Band]:
        """A derivative by the definitions on the page, once for each convention paper has.

        Args:
            node: what is derived by what.
            view: where it is derived.
            bound: values of names for this once.

        Raises:
            UnknownValueError: if something has no value.
        """
        of = node.of
        by = node.by
        if isinstance(of, Name) and not by:
            function = self._ledger.quantities.get(of.text)
            if function is not None and function.params and len(function.params) == 1:
                by = (Name(function.params[0]),) * node.order
            elif function is not None and function.params and node.order == 1:
                letters = [self._values.value(Name(p), view, bound=bound) for p in function.params]
                return [self._gradient_at(function, letters, view, bound)]
        if isinstance(of, Call) and not by:
            function = self._ledger.quantities.get(of.function)
            if function is not None and function.params is not None:
                args = [self._values.value(arg, view, bound=bound) for arg in of.args]
                if len(args) == 1 and args[0].shape == ():
                    return [self.at(function, args[0], node.order, view)]
                if node.order == 1:
                    return [self._gradient_at(function, args, view, bound)]
        if not by:
            raise UnknownValueError("∇ of what depends on nothing that is said")
        if node.order == 2 and len({name.text for name in by}) == 1:
            function = Quantity(formula=self._body_of(of), params=(by[0].text,))
            at = self._values.value(by[0], view, bound=bound)
            return [self.at(function, at, 2, view)]
        if node.order != 1:
            raise UnknownValueError("a derivative of higher order")
        found: list[Band] = []
        for is_kept in (False, True):
            found += self._slopes(of, by[0], view, is_kept, bound)
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
                held[text] = self._values.value(Name(text), view, bound=bound)
            except UnknownValueError:
                return []
        try:
            return self._slopes(body, by, view, False, held)
        except UnknownValueError:
            return []

    def at(self, function: Quantity, at: Band, order: int, view: View) -> Band:
        """The derivative of a function that the page defines, of order 1 or 2, at a number."""
        if at.shape != () or order > 2 or function.formula is None or not function.params:
            raise UnknownValueError("a derivative that is not computed")
        letter = function.params[0]

        def slope(x: float) -> float:
            source = SlopeSource(self._values, view, False, {})
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

    def _gradient_at(
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
                source = SlopeSource(self._values, view, False, held)
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
            found = self._ledger.find(of.text)
            if found is not None and found.formula is not None:
                return found.formula
        return of

    def _slopes(
        self,
        of: Expression,
        by: Name,
        view: View,
        is_kept: bool,
        bound: dict[str, Band],
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
        center, place = self._place_of(by, view, bound)
        rows, columns = center.shape if center.shape else (1, 1)
        if rows * columns > 400:
            raise UnknownValueError("a derivative by too many entries")
        parts: list[Any] = []
        depends = False
        for i in range(rows):
            for j in range(columns):
                if place is not None and (i, j) != place:
                    continue
                source = SlopeSource(self._values, view, is_kept, bound)
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
        if self._ledger.find(by.text) is not None:
            return self._values.value(by, view, bound=bound), None
        owner = self._values.owner(by.text)
        if owner is None:
            raise UnknownValueError(f"{by.text} has no value")
        key, place = owner
        return self._values.value(Name(key), view, bound=bound), place

    def _owner_of(self, by: Name, place: tuple[int, int] | None) -> str:
        if place is None:
            return by.text
        owner = self._values.owner(by.text)
        assert owner is not None, "found before"
        return owner[0]


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
