"""Definitions: formulas with letters that stand for nothing yet, or identities between them."""

from __future__ import annotations

from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._identity import Identity
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._step import Verdict
from thalweg.sheet.marking._values import Values
from thalweg.symbolic._expression import Call, Name


class Definitions:
    """Judges what has no value.

    Args:
        values: what names stand for.
        marks: where the verdict is noted.
    """

    def __init__(self, values: Values, marks: Marks) -> None:
        self._identity = Identity(values)
        self._marks = marks

    def take(self, chain: Chain, link: Link, relation: str) -> None:
        """Notes a formula without a value: as a definition, as an identity, or as not judged."""
        previous = chain.links[-1].node if chain.links else None
        if relation == "=" and chain.params is None:
            judged = self._identity.holds(previous, link.node) if previous is not None else None
            if judged is not None:
                self._judge_identity(chain, link, judged)
                chain.remember(link.node)
                return
        elif relation == "=" and chain.formula is not None and previous is not None:
            judged = self._identity.holds(chain.formula, link.node)
            if judged is not None:
                self._judge_identity(chain, link, judged)
                return
        is_first = chain.formula is None and chain.target is not None and len(chain.links) <= 1
        chain.remember(link.node)
        if isinstance(link.node, Name) and chain.head is not None:
            chain.others.append(link.node.text)
        if is_first and isinstance(chain.head, Name | Call):
            self._marks.say(chain, link, Verdict.OK, kind="definition")
        else:
            why = self._marks.why_not(link.node)
            self._marks.unread(link.line, link.text, why, chain.subject)

    def _judge_identity(self, chain: Chain, link: Link, holds: bool) -> None:
        if holds:
            self._marks.say(chain, link, Verdict.OK)
            return
        kind = self._identity.slip(chain.links[-1].node, link.node)
        self._marks.say(chain, link, Verdict.WRONG, kind=kind.value)
