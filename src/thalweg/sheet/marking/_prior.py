"""Prior: what a quantity should be before a chain says so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from thalweg.sheet.marking._band import Band, UnknownValueError, any_overlap, transpose
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._digits import Display, display_of
from thalweg.sheet.marking._ledger import Quantity, key_of
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._rebinding import Rebinding
from thalweg.sheet.marking._roots import Roots
from thalweg.sheet.marking._values import Values
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Call, Expression, Name, Number, Transpose
from thalweg.symbolic.paper import Derivative


@dataclass(frozen=True)
class Prior:
    """What the target of a chain should be, by what was said above.

    Args:
        true: as it should be, once for each possibility.
        shown: as the page carries it on.
        is_firm: by a formula, a derivative or the problem; not by a number that stood there.
        quantity: what was written down of it.
        formula: by which it is known.
    """

    true: list[Band]
    shown: list[Band]
    is_firm: bool
    quantity: Quantity | None
    formula: Expression | None = None

    @property
    def bands(self) -> list[Band]:
        """All that it may come to."""
        return [*self.true, *self.shown]


class Priors:
    """Looks up what was said about the target of a chain.

    Args:
        values: what names stand for.
        weighing: what expressions come to.
        rebinding: of letters.
        roots: what letters with several values may be.
    """

    def __init__(
        self, values: Values, weighing: Weighing, rebinding: Rebinding, roots: Roots
    ) -> None:
        self._values = values
        self._roots = roots
        self._ledger = values.ledger
        self._weighing = weighing
        self._rebinding = rebinding

    def meet(self, chain: Chain, link: Link, agrees: Callable[[list[Band]], bool]) -> None:
        """Sets what a chain should come to, where that is known and its first value is no new one.

        Args:
            chain: whose first value is met.
            link: its first value.
            agrees: whether that value is one of these.
        """
        if self._is_root(chain, link, agrees):
            return
        prior = self.of(chain)
        if prior is None:
            return
        if not agrees(prior.bands) and self._may_redefine(chain, link, prior):
            chain.is_redefined = True
            return
        self._adopt(chain, prior)

    def _is_root(self, chain: Chain, link: Link, agrees: Callable[[list[Band]], bool]) -> bool:
        """Whether a chain names one of the values that its letter may have, and which.

        A formula without a root that comes to another value is another quantity, such as the x₁
        of an iteration.
        """
        if not isinstance(chain.head, Name) or chain.is_redefined:
            return False
        roots = self._roots.of(chain.head.text, chain.before)
        met = [root for root in roots if agrees([root.true, root.shown])]
        is_claim = (
            display_of(link.node) is not None
            or _has_root(link.node)
            or self._roots.is_all(chain.head.text)
        )
        if not roots or not (met or is_claim):
            return False
        chain.true = [root.true for root in met or roots]
        chain.shown = [root.shown for root in met or roots]
        chain.is_off = any(root.is_off for root in met or roots)
        return True

    def _adopt(self, chain: Chain, prior: Prior) -> None:
        chain.true = prior.true
        chain.shown = prior.shown
        chain.prior = prior.formula
        head = chain.head
        node = prior.formula or (head.of if isinstance(head, Transpose) else head)
        chain.is_off = (
            node is not None
            and self._weighing.is_tainted(node)
            and bool(prior.shown)
            and not any_overlap(prior.true, prior.shown)
        )

    def is_zero(self, chain: Chain) -> bool:
        """Whether what a chain begins with may be 0."""
        prior = self.of(chain)
        bands = chain.true or (prior.true if prior else [])
        return any(
            bool(np.all(band.low <= 1e-12) and np.all(band.high >= -1e-12)) for band in bands
        )

    def of(self, chain: Chain) -> Prior | None:
        """What the target should be by its formula, by the definitions, or as it was said."""
        head = chain.head
        if chain.is_redefined or head is None:
            return None
        plain = head.of if isinstance(head, Transpose) else head
        found: Prior | None = None
        if isinstance(plain, Name):
            found = self._of_name(plain)
        elif isinstance(plain, Derivative):
            found = self.of_derivative(plain)
        elif isinstance(plain, Call) and chain.params is None:
            true, shown = self._weighing.both(plain)
            if true and shown:
                found = Prior(true, shown, True, self._ledger.quantities.get(chain.target or ""))
        elif chain.entries:
            true, shown = self._weighing.both(plain)
            if true and shown:
                found = Prior(true, shown, False, None)
        if found is None or not isinstance(head, Transpose):
            return found
        return Prior(
            [transpose(b) for b in found.true],
            [transpose(b) for b in found.shown],
            found.is_firm,
            found.quantity,
            found.formula,
        )

    def _of_name(self, name: Name) -> Prior | None:
        quantity = self._ledger.find(name.text)
        if quantity is None:
            return self._of_entry(name)
        if quantity.params is not None:
            return None
        if quantity.formula is not None and not quantity.is_opaque:
            true, shown = self._weighing.both(quantity.formula)
            shown += [quantity.shown] if quantity.shown is not None else []
            true += [quantity.true] if quantity.true is not None else []
            if true and shown:
                return Prior(true, shown, True, quantity, quantity.formula)
        if quantity.true is None or quantity.shown is None:
            return None
        return Prior([quantity.true], [quantity.shown], quantity.is_from_problem, quantity, None)

    def _of_entry(self, name: Name) -> Prior | None:
        """x_1, by x."""
        owner = self._values.owner(name.text)
        if owner is None:
            return None
        true, shown = self._weighing.both(name)
        whole = self._ledger.find(owner[0])
        is_firm = whole is not None and whole.formula is not None
        return Prior(true, shown, is_firm, whole) if true and shown else None

    def of_derivative(self, node: Derivative) -> Prior | None:
        """∂L/∂w by the definitions on the page, and as it was said."""
        key = key_of(node)
        claimed = self._ledger.quantities.get(key) if key else None
        true: list[Band] = []
        shown: list[Band] = []
        try:
            true = self._values.derivatives(node, View.TRUE)
            shown = self._values.derivatives(node, View.SHOWN)
        except UnknownValueError:
            pass
        if claimed is not None and claimed.shown is not None and claimed.true is not None:
            if not true:
                return Prior([claimed.true], [claimed.shown], False, claimed)
            shown = [claimed.shown, *shown]
        return Prior(true, shown, True, claimed) if true else None

    def _may_redefine(self, chain: Chain, link: Link, prior: Prior) -> bool:
        """Whether another value for a known quantity is a new one, not an error."""
        node, quantity = link.node, prior.quantity
        name = chain.head.text if isinstance(chain.head, Name) else None
        if name is not None and name in node.names:
            return True
        display = display_of(node)
        is_later = quantity is not None and (
            self._ledger.turn > quantity.turn or self._ledger.epoch > quantity.epoch
        )
        if not prior.is_firm:
            if display is None or quantity is None or quantity.is_given or is_later:
                return True
            return not _is_slip_of_the_pen(display, prior.true[0])
        if quantity is not None and quantity.shown is not None and _has_copy(node, quantity.shown):
            return True
        if self._rebinding.holds(chain, node):
            return True
        if is_later and quantity is not None and quantity.shown is not None:
            return True
        return bool(isinstance(chain.head, Derivative) and self._ledger.epoch > 0 and is_later)


def _has_root(node: Expression) -> bool:
    return any(isinstance(part, Call) and part.function == "sqrt" for part in node.walk())


def _is_slip_of_the_pen(display: Display, true: Band) -> bool:
    """Whether digits look like a mistaken copy of a value, not like another value."""
    fitted = display.fits(true)
    if fitted is None:
        return False
    claimed = fitted.band("value").mid
    gap = np.max(np.abs(np.abs(claimed) - np.abs(true.mid)))
    return bool(gap <= 0.2 * np.max(np.abs(true.mid)))


def _has_copy(node: Expression, shown: Band) -> bool:
    """Whether a formula contains the present value of the target: an update of it."""
    if shown.shape != () or isinstance(node, Number):
        return False
    if display_of(node) is not None:
        return False
    return any(
        isinstance(part, Number)
        and abs(float(part.value) - abs(shown.mid)) <= 1e-9 * abs(shown.mid)
        and len(part.text.strip("0.")) >= 1
        and shown.mid not in (0.0, 1.0, 2.0)
        for part in node.walk()
    )
