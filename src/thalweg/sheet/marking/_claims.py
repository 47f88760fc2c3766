"""Claims: displayed digits as a rounding of what is right, or of what follows from an error."""

from __future__ import annotations

import numpy as np

from thalweg.sheet.marking._band import Band, transpose
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._digits import Display
from thalweg.sheet.marking._ledger import Ledger
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._prior import Priors
from thalweg.sheet.marking._rebinding import Rebinding
from thalweg.sheet.marking._step import Verdict


class Claims:
    """Judges digits, and writes them down for what stands below.

    Args:
        ledger: where they are written down.
        priors: what they should be.
        rebinding: of letters.
        marks: where the verdict is noted.
    """

    def __init__(self, ledger: Ledger, priors: Priors, rebinding: Rebinding, marks: Marks) -> None:
        self._ledger = ledger
        self._priors = priors
        self._rebinding = rebinding
        self._marks = marks

    def claim(self, chain: Chain, display: Display, link: Link, is_about: bool) -> None:
        """Digits within a chain: a correct rounding of what is right, or of what follows?"""
        if not chain.true:
            self._priors.meet(
                chain, link, lambda bands: any(display.is_rounding_of(b, is_about) for b in bands)
            )
            if not chain.true:
                self._give(chain, display, link, is_about)
                return
        right = next((b for b in chain.true if display.is_rounding_of(b, is_about)), None)
        follows = next((b for b in chain.shown if display.is_rounding_of(b, is_about)), None)
        if right is None and follows is None and self._rebinding.shows(chain, display, is_about):
            right = chain.true[0]
        if right is not None:
            verdict = Verdict.OK
            # Of several readings the page means the one that it works with.
            chain.true = [b for b in chain.true if display.is_rounding_of(b, is_about)] or [right]
            # There may be too few digits to tell an error from what is right.
            chain.is_off = chain.is_off and follows is not None and chain.was_wrong
        elif follows is not None:
            verdict = Verdict.CARRIED if chain.is_off else Verdict.OK
        else:
            verdict = Verdict.WRONG
        carried = _carried_on(display, follows if follows is not None else right)
        self._marks.judge(chain, link, verdict, [display.band("value")], display)
        if verdict is Verdict.WRONG:
            chain.is_off = True
        chain.shown = [carried]
        self._record(chain, display, carried)

    def _give(self, chain: Chain, display: Display, link: Link, is_about: bool) -> None:
        """A number that is given: nothing on the page says what it should be."""
        # What was computed in a way that is not known may be rounded, if it has many digits.
        is_computed = chain.formula is not None or chain.has_unread
        is_rounded = is_computed and all(
            d.place < 1 and (d.significant >= 3 or not d.value) for d in display.flat
        )
        band = display.band("band" if is_about or is_rounded else "value")
        if any(d.is_cut for d in display.flat):
            band = display.band()
        chain.true, chain.shown = [band], [band]
        chain.was_given = len(chain.links) <= 1 and not chain.has_unread
        if chain.was_given and not is_about:
            for digits in display.flat:
                self._ledger.give(digits)
        if chain.head is None:
            why = "what it is equal to was not read"
            self._marks.unread(link.line, link.text, why, chain.subject)
        elif chain.target is None and not chain.entries:
            why = self._marks.why_not(chain.head)
            self._marks.unread(link.line, link.text, why, chain.subject)
        elif chain.formula is None:
            self._marks.say(chain, link, Verdict.OK, kind="given")
        else:
            # A formula without a value, then a number: nobody can say whether it is right.
            why = self._marks.why_not(chain.formula)
            self._marks.unread(link.line, link.text, why, chain.subject)
            self._record(chain, display, band)

    def _record(self, chain: Chain, display: Display, carried: Band) -> None:
        """Writes down what is displayed, so that copies of it are known further down."""
        true = next((b for b in chain.true if display.fits(b) is not None), None)
        fitted = display.fits(carried)
        if true is None or fitted is None:
            return
        oriented = true if true.shape == carried.shape else transpose(true)
        if fitted.is_number:
            self._ledger.record(fitted.digits, carried, oriented, chain.is_off)
            return
        for i, row in enumerate(fitted.rows):
            for j, digits in enumerate(row):
                self._ledger.record(digits, carried.entry(i, j), oriented.entry(i, j), chain.is_off)


def _carried_on(display: Display, basis: Band | None) -> Band:
    """What a page carries on behind digits: these, or what was rounded to them.

    The calculator may have kept more digits than were shown; with one digit more it is off by a
    twentieth of the last place at most. Of 0.9 that is 0.9000000005 all further digits are known.
    """
    value = display.band("value")
    if basis is None:
        return value
    fitted = display.fits(basis)
    if fitted is None:
        return value
    value, whole = fitted.band("value"), fitted.band()
    places = np.array([[d.place for d in row] for row in fitted.rows])
    place = float(places[0, 0]) if fitted.is_number else places
    low, high = np.maximum(basis.low, whole.low), np.minimum(basis.high, whole.high)
    low, high = np.minimum(low, high), np.maximum(low, high)
    low, high = np.minimum(low, value.mid), np.maximum(high, value.mid)
    is_known = high - low <= np.maximum(1e-12 * np.abs(value.mid), 1e-3 * place)
    margin = np.where(is_known, 0.0, 0.05 * place)
    low, high = low - margin, high + margin
    if fitted.is_number:
        return Band(float(low), float(value.mid), float(high))
    return Band(low, value.mid, high)
