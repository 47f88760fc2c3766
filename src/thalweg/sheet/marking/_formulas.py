"""Formulas: a member that is no number, judged, and what a chain carries on behind it."""

from __future__ import annotations

import numpy as np

from thalweg._errors import FormulaError
from thalweg.sheet.marking._band import any_overlap
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._comparison import Comparison, Weight
from thalweg.sheet.marking._copies import paired
from thalweg.sheet.marking._definitions import Definitions
from thalweg.sheet.marking._digits import digits_of, display_of, is_numeric
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._passage import Passage
from thalweg.sheet.marking._prior import Priors
from thalweg.sheet.marking._rebinding import Rebinding
from thalweg.sheet.marking._step import Verdict
from thalweg.sheet.marking._values import Values
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Array, Expression, Name, Number
from thalweg.symbolic.paper import Member, written


class Formulas:
    """Judges formulas within a chain.

    Args:
        values: what names stand for.
        weighing: what expressions come to.
        priors: what they should come to.
        rebinding: of letters.
        marks: where the verdict is noted.
    """

    def __init__(
        self,
        values: Values,
        weighing: Weighing,
        priors: Priors,
        rebinding: Rebinding,
        marks: Marks,
    ) -> None:
        self._ledger = values.ledger
        self._weighing = weighing
        self._priors = priors
        self._comparison = Comparison(values.ledger, weighing, rebinding)
        self._definitions = Definitions(values, marks)
        self._marks = marks

    def judge(self, chain: Chain, link: Link, member: Member, passage: Passage) -> None:
        """A formula should come to what its chain comes to."""
        node = link.node
        weight = self._weight(chain, node)
        if weight is None:
            self._definitions.take(chain, link, member.relation)
            return
        if not chain.true:
            mine = weight.all
            self._priors.meet(chain, link, lambda bands: any_overlap(mine, bands))
        verdict = self._comparison.verdict(chain, node, weight) if chain.true else Verdict.OK
        if verdict is Verdict.WRONG:
            # a/2b, read the other way.
            tight = self._tight(member, passage, node)
            if tight is not None and any_overlap(
                self._weighing.bands(tight, View.SHOWN, is_loose=True, bound=chain.bound),
                chain.true,
            ):
                verdict, node = Verdict.OK, tight
                shown = self._weighing.bands(tight, View.SHOWN, bound=chain.bound)
                weight = Weight(weight.true, shown, weight.loose)
        if verdict is not Verdict.WRONG and self._is_miscopied(chain, node):
            chain.remember(node)
            self._marks.judge(chain, link, Verdict.WRONG, weight.shown)
            chain.shown = [*weight.shown, *chain.shown]
            return
        verdict = self._carry_on(chain, node, weight, verdict)
        chain.remember(node)
        self._marks.judge(chain, link, verdict, [*weight.loose, *weight.shown])
        if verdict is Verdict.WRONG:
            chain.shown, chain.is_off = weight.shown, True

    def _weight(self, chain: Chain, node: Expression) -> Weight | None:
        true = self._weighing.bands(node, View.TRUE, bound=chain.bound)
        shown = self._weighing.bands(node, View.SHOWN, bound=chain.bound)
        if not true or not shown:
            return None
        loose = shown
        if _has_decimals(node):
            loose = self._weighing.bands(node, View.SHOWN, is_loose=True, bound=chain.bound)
        return Weight(true, shown, loose)

    def _carry_on(
        self, chain: Chain, node: Expression, weight: Weight, verdict: Verdict
    ) -> Verdict:
        """What the chain comes to from here on; the first formula says that itself."""
        shown = weight.shown
        if not chain.true:
            chain.true, chain.shown = weight.true, shown
            chain.is_off = self._weighing.is_off(node, weight.true, shown)
            return Verdict.CARRIED if chain.is_off else Verdict.OK
        if verdict is Verdict.OK:
            self._note_roundings(chain, node)
            meant = [b for b in chain.true if any_overlap([b], weight.all)]
            chain.true = meant or chain.true
            if chain.is_off and any_overlap(shown + weight.loose, chain.true):
                chain.is_off = False
                chain.shown = []
            chain.shown = [*shown, *chain.shown]
        elif verdict is Verdict.CARRIED:
            chain.shown, chain.is_off = [*shown, *(chain.shown if chain.is_off else ())], True
        return verdict

    def _note_roundings(self, chain: Chain, node: Expression) -> None:
        """Numbers that stand for parts of a formula for the first time are rounded: the 7.389 of
        2.718 + 7.389 behind Σ e^z.
        """
        if not is_numeric(node) or is_numeric(chain.links[-1].node):
            return
        for part in node.walk():
            digits = digits_of(part) if isinstance(part, Number) else None
            if digits is None or digits.significant < 3 or digits.place >= 1:
                continue
            if self._ledger.is_given_number(digits) or self._ledger.results_like(digits):
                continue
            self._ledger.record(digits, digits.band, digits.band, chain.is_off)

    def _tight(self, member: Member, passage: Passage, node: Expression) -> Expression | None:
        """The member with a/2b as a/(2b); None if that is how it was read."""
        if not any(p.is_sign("/") for p in member.pieces):
            return None
        try:
            found = written(member.pieces, self._ledger, passage.hand, is_tight=True).expression
        except FormulaError:
            return None
        return None if found == node else found

    def _is_miscopied(self, chain: Chain, node: Expression) -> bool:
        """Whether one entry of a given matrix was copied wrongly and met a zero, so that the
        result does not show it.
        """
        if not chain.links or chain.bound or not is_numeric(node):
            return False
        pairs = paired(chain.links[-1].node, node)
        for name, array in pairs or ():
            display = display_of(array) if isinstance(array, Array) else None
            quantity = self._ledger.find(name.text) if isinstance(name, Name) else None
            if display is None or quantity is None or not quantity.is_given or not quantity.shown:
                continue
            fitted = display.fits(quantity.shown)
            if fitted is None or len(fitted.flat) < 3:
                continue
            wrong = int(np.sum(fitted.band("value").mid != quantity.shown.mid))
            if wrong == 1:
                return True
        return False


def _has_decimals(node: Expression) -> bool:
    """Whether there are numbers in it that may be rounded."""
    return any(isinstance(part, Number) and part.place < 1 for part in node.walk())
