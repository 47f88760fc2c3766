"""Conditions: equations that are asked for or to be solved, and claim nothing."""

from __future__ import annotations

import re

from thalweg.sheet.marking._chain import Chain
from thalweg.sheet.marking._digits import is_numeric
from thalweg.sheet.marking._prior import Priors
from thalweg.sheet.marking._roots import Roots
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Call, Name
from thalweg.symbolic.paper import Derivative

_CONDITION = re.compile(
    r"\b(?:if|when|wenn|falls|sofern|si|quand|lorsque|suppose|assume|angenommen|supposons|until|bis|"
    r"unless|solve|setze|set|setting|löse|résoudre|nullstelle|where)\s*$",
    re.IGNORECASE,
)
_SOLVING = re.compile(
    r"(?:solve|setze|set|setting|löse|lösen|résou\w*|null\w*|zero|zéro|root|wurzel|racine|equation|gleichung|équation|critical|kritisch\w*|"
    r"condition|bedingung|stationär\w*|optimum|minimum|extrem\w*|must|muss|soll|doit)",
    re.IGNORECASE,
)
_ZERO = re.compile(r"[\\,;!\s]*(0|\\mathbf\{?0\}?|\\vec\{?0\}?)[.,\s]*")


class Conditions:
    """Tells what is asked for from what is said.

    Args:
        weighing: what expressions come to.
        priors: what is known of a target.
        roots: which letters were unknowns before.
    """

    def __init__(self, weighing: Weighing, priors: Priors, roots: Roots) -> None:
        self._weighing = weighing
        self._roots = roots
        self._priors = priors

    def why_set_aside(self, chain: Chain, text: str, before: str) -> str:
        """Why an equation claims nothing; "" if it claims something.

        Args:
            chain: what stands left of it, and nothing else.
            text: what stands right of it, as it was written.
            before: the words before it.
        """
        if _CONDITION.search(before):
            prior = self._priors.of(chain) if chain.head is not None else None
            if prior is not None and prior.is_firm:
                return "a condition, not a result"
        if _ZERO.fullmatch(text) and self._is_to_be_solved(chain, before):
            return "an equation to be solved"
        if self._is_another(chain, before):
            return "another equation to be solved"
        return ""

    def _is_another(self, chain: Chain, before: str) -> bool:
        """3x = 12 behind 2x = 6, x = 3: the unknown of one exercise is that of the next."""
        head = chain.head
        if head is None or isinstance(head, Name) or chain.target is not None:
            return False
        names = head.names
        is_anew = bool(_SOLVING.search(before)) or self._weighing.is_from_before(names)
        return is_anew and self._roots.was_found(names)

    def _is_to_be_solved(self, chain: Chain, before: str) -> bool:
        """f(x) = 0, where f(x) is something else here."""
        head = chain.head
        is_formula = head is not None and not isinstance(head, Name) and not is_numeric(head)
        is_about = isinstance(head, Call | Derivative) or chain.target is None
        if head is None or not is_formula or not is_about or self._priors.is_zero(chain):
            return False
        return (
            not isinstance(head, Derivative)
            or not head.by
            or bool(_SOLVING.search(before))
            or not self._weighing.has_value(head)
        )
