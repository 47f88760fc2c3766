"""Marks: the steps that are noted beside a page, each with its verdict and its reason."""

from __future__ import annotations

from thalweg._errors import FormulaError
from thalweg.sheet.marking._band import Band, UnknownValueError
from thalweg.sheet.marking._case import Case
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._digits import Display, spelled_band, spelled_like
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._slips import slip_of
from thalweg.sheet.marking._step import Slip, Step, Verdict
from thalweg.sheet.marking._values import Values
from thalweg.symbolic._expression import Expression


class Marks:
    """Notes one step after the other.

    Args:
        values: what names stand for, by which a slip is explained.
    """

    def __init__(self, values: Values) -> None:
        self._values = values
        self.steps: list[Step] = []

    def unread(self, line: int, text: str, why: str, subject: str) -> None:
        """Notes that something was not judged."""
        if text.strip():
            self.steps.append(Step(line, Verdict.UNREAD, text, "", why, subject))

    def say(
        self, chain: Chain, link: Link, verdict: Verdict, right: str = "", kind: str = ""
    ) -> None:
        """Notes a verdict that needs no explanation."""
        self.steps.append(Step(link.line, verdict, link.text, right, kind, chain.subject))

    def judge(
        self,
        chain: Chain,
        link: Link,
        verdict: Verdict,
        mine: list[Band],
        display: Display | None = None,
    ) -> None:
        """Notes a verdict with what would be right and, of a wrong step, the likely slip."""
        right = kind = ""
        if verdict in (Verdict.WRONG, Verdict.CARRIED) and chain.true:
            true = chain.true[0]
            right = spelled_band(true) if display is None else spelled_like(true, display)
        if verdict is Verdict.WRONG:
            chain.was_wrong = self._values.ledger.has_wrong = True
            kind = self._slip(chain, link, mine, display).value
        self.say(chain, link, verdict, right, kind)

    def _slip(self, chain: Chain, link: Link, mine: list[Band], display: Display | None) -> Slip:
        case = Case(
            values=self._values,
            node=link.node,
            display=display,
            claimed=mine,
            right=[*chain.true, *(chain.shown if chain.is_off else ())],
            formulas=[*([chain.prior] if chain.prior else []), *(x.node for x in chain.links)],
            target=chain.head,
            bound=chain.bound,
        )
        return slip_of(case)

    def why_not(self, node: Expression) -> str:
        """Why a formula has no value, in words."""
        try:
            missing = sorted(self._values.leaves(node))
        except UnknownValueError as error:
            return str(error)
        if missing:
            shown = ", ".join(missing[:3]) + (", …" if len(missing) > 3 else "")
            return f"no value for {shown}"
        try:
            self._values.value(node, View.TRUE)
        except (UnknownValueError, FormulaError) as error:
            return str(error)
        return "no value"
