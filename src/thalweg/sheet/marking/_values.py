"""Values: what expressions on a page come to, and what they depend on."""

from __future__ import annotations

from thalweg.sheet.marking._algebra import Reading
from thalweg.sheet.marking._band import Band, UnknownValueError
from thalweg.sheet.marking._digits import digits_of
from thalweg.sheet.marking._ledger import CONSTANTS, Ledger, Quantity, key_of
from thalweg.sheet.marking._page_sources import MAX_EXPANSIONS, BandSource, View
from thalweg.sheet.marking._slopes import Slopes
from thalweg.symbolic._expression import Binary, Call, Expression, Name, Number
from thalweg.symbolic.paper import Derivative


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
        self._slopes = Slopes(self)

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
        source = BandSource(self, view, reading or Reading(), is_loose, swaps_short, bound or {})
        self.was_open = True
        found = source.evaluator.value(node)
        self.was_open = source.evaluator.was_open
        if not found.is_finite:
            raise UnknownValueError("beyond what float64 holds")
        return found

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
                if isinstance(part.of, Name):
                    whole = self.ledger.quantities.get(part.of.text)
                    names += list((whole.params if whole is not None else None) or ())
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
            return self._slopes.derivatives(node, view, bound)
        if self._version != self.ledger.version:
            self._derived.clear()
            self._version = self.ledger.version
        if (node, view) not in self._derived:
            self._derived[node, view] = self._slopes.derivatives(node, view, {})
        return self._derived[node, view]

    def slope_at(self, function: Quantity, at: Band, order: int, view: View) -> Band:
        """The derivative of a function that the page defines, of order 1 or 2, at a number."""
        return self._slopes.at(function, at, order, view)
