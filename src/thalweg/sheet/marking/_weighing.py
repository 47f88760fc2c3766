"""Weighing: what an expression comes to, once for each reading of what paper leaves open."""

from __future__ import annotations

from collections.abc import Iterable

from thalweg._errors import FormulaError
from thalweg.sheet.marking._algebra import Reading
from thalweg.sheet.marking._band import Band, UnknownValueError, any_overlap, is_same
from thalweg.sheet.marking._chain import Chain
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._values import Values
from thalweg.symbolic._expression import Expression

READINGS = (
    Reading(),
    Reading(is_elementwise=True),
    Reading(is_decimal=True),
    Reading(is_elementwise=True, is_decimal=True),
    Reading(is_product=True),
)
"""In this order: an accusation stands only if a step is wrong in each."""


class Weighing:
    """Values under every reading.

    Args:
        values: what names stand for.
    """

    def __init__(self, values: Values) -> None:
        self._values = values

    def bands(
        self,
        node: Expression,
        view: View,
        *,
        is_loose: bool = False,
        swaps_short: bool = False,
        bound: dict[str, Band] | None = None,
    ) -> list[Band]:
        """The values of an expression, once for each reading that makes a difference.

        Args:
            node: what is computed.
            view: carried on from what is shown, or as it should be.
            is_loose: numbers that were not shown before may be rounded to their digits.
            swaps_short: numbers of one digit may be copies of results, too.
            bound: values of names for this once.
        """
        found: list[Band] = []
        for reading in READINGS:
            try:
                band = self._values.value(
                    node, view, reading, is_loose=is_loose, swaps_short=swaps_short, bound=bound
                )
            except (UnknownValueError, FormulaError):
                pass
            else:
                if not any(is_same(band, other) for other in found):
                    found.append(band)
            if not self._values.was_open:
                break
        return found

    def both(self, node: Expression) -> tuple[list[Band], list[Band]]:
        """As it should be, and as the page carries it on."""
        return self.bands(node, View.TRUE), self.bands(node, View.SHOWN)

    def has_value(self, node: Expression) -> bool:
        """Whether it comes to something."""
        return bool(self.bands(node, View.TRUE))

    def is_from_before(self, names: Iterable[str]) -> bool:
        """Whether one of these was last said in an earlier part of the page."""
        ledger = self._values.ledger
        found = [ledger.find(name) for name in names]
        return any(each is not None and each.turn < ledger.turn for each in found)

    def is_tainted(self, node: Expression) -> bool:
        """Whether something in a formula is carried on from an error."""
        return self._values.ledger.has_wrong and self._values.is_tainted(node)

    def is_off(self, node: Expression, true: list[Band], shown: list[Band]) -> bool:
        """Whether an error carried on into a formula shows in what it comes to."""
        return self.is_tainted(node) and not any_overlap(true, shown)

    def begin(self, chain: Chain, head: Expression) -> None:
        """Takes what a formula at the beginning comes to for what the chain should."""
        true, shown = self.both(head)
        if true and shown:
            chain.true, chain.shown = true, shown
            chain.is_off = self.is_off(head, true, shown)
