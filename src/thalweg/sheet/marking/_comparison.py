"""Comparison: what a formula comes to, against what its chain should come to."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from thalweg.sheet.marking._band import Band, any_overlap
from thalweg.sheet.marking._chain import Chain
from thalweg.sheet.marking._digits import digits_of, is_numeric
from thalweg.sheet.marking._ledger import Ledger
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._rebinding import Rebinding
from thalweg.sheet.marking._step import Verdict
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Expression, Number
from thalweg.symbolic.paper import Derivative

NEGLIGIBLE = 1e-6
"""Share of a value that a formula may leave out in silence."""


@dataclass(frozen=True)
class Weight:
    """What a formula comes to.

    Args:
        true: as it should be, once for each reading.
        shown: as the page carries it on.
        loose: the same, where numbers that were not shown before may be rounded.
    """

    true: list[Band]
    shown: list[Band]
    loose: list[Band]

    @property
    def all(self) -> list[Band]:
        """In any of these ways."""
        return [*self.true, *self.shown, *self.loose]


class Comparison:
    """Finds the most favourable way to take a formula.

    Args:
        ledger: what the page has said.
        weighing: what expressions come to.
        rebinding: of letters.
    """

    def __init__(self, ledger: Ledger, weighing: Weighing, rebinding: Rebinding) -> None:
        self._ledger = ledger
        self._weighing = weighing
        self._rebinding = rebinding

    def verdict(self, chain: Chain, node: Expression, weight: Weight) -> Verdict:
        """Right, carried on, or wrong in every way."""
        true, shown, loose = weight.true, weight.shown, weight.loose
        is_tainted = self._weighing.is_off(node, true, shown)
        if any_overlap(true, chain.true):
            is_carried = is_tainted and not any_overlap(loose, chain.true)
            return Verdict.CARRIED if is_carried else Verdict.OK
        if any_overlap([*shown, *loose], chain.true):
            return Verdict.OK
        swapped = self._weighing.bands(
            node, View.TRUE, is_loose=True, swaps_short=True, bound=chain.bound
        )
        if any_overlap(swapped, chain.true):
            is_carried = self._weighing.is_off(node, swapped, shown)
            return Verdict.CARRIED if is_carried else Verdict.OK
        if any_overlap([*shown, *loose], chain.shown):
            return Verdict.CARRIED if chain.is_off else Verdict.OK
        if self._rebinding.holds(chain, node) or _is_negligible(shown, chain.true):
            return Verdict.OK
        if self._is_coarse(chain, node, shown):
            return Verdict.OK
        return Verdict.WRONG

    def _is_coarse(self, chain: Chain, node: Expression, shown: list[Band]) -> bool:
        """Whether rounding on the way explains what numbers alone make of a derivative.

        Its formula does not stand on the page, so that each factor may have been rounded several
        times before; the digits of the page say by how much.
        """
        before = [chain.head, *(link.node for link in chain.links)]
        if not any(isinstance(each, Derivative) for each in before) or not is_numeric(node):
            return False
        found = [digits for part in node.walk() if (digits := digits_of(part)) is not None]
        # What each number may be off by, for itself; of a 0.00 nothing can be said.
        shares = [
            digits.place / 2 / abs(digits.value)
            for digits in found
            if digits.value and digits.place < 1 and not self._ledger.is_given_number(digits)
        ]
        share = min(3 * max(0.5 * 10.0 ** (1 - _significant(node)), *shares, 0.0), 0.5)
        return _is_within(share, shown, chain.true)


def _is_negligible(mine: Sequence[Band], theirs: Sequence[Band]) -> bool:
    """Whether what was left out is below any digit that is shown: the ε of Adam."""
    return _is_within(NEGLIGIBLE, mine, theirs)


def _is_within(share: float, mine: Sequence[Band], theirs: Sequence[Band]) -> bool:
    """Whether one of mine is off one of theirs by no more than a share of it."""
    return any(
        a.shape == b.shape
        and bool(np.all(np.abs(a.mid - b.mid) <= share * np.abs(np.asarray(b.mid))))
        for a in mine
        for b in theirs
    )


def _significant(node: Expression) -> int:
    """The most significant digits that a number of an expression shows."""
    texts = [part.text for part in node.walk() if isinstance(part, Number)]
    digits = [re.sub(r"[eE].*|\D", "", text).lstrip("0") for text in texts]
    return max((len(each) for each in digits), default=1) or 1
