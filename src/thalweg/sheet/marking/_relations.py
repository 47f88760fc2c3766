"""Relations: a < b and W ∈ ℝ²ˣ³, looked at by what stands on both sides."""

from __future__ import annotations

import re

from thalweg._errors import FormulaError
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._digits import display_of, spelled_band
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._members import Members
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._passage import Passage
from thalweg.sheet.marking._prior import Priors
from thalweg.sheet.marking._roots import Roots
from thalweg.sheet.marking._step import Slip, Verdict
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Name
from thalweg.symbolic.paper import Derivative, Member

EQUAL = frozenset(("=", "≈", ":=", "~"))
"""Relations by which a chain goes on."""

_ORDER = frozenset(("<", ">", "≤", "≥", "≠"))
_ROMAN_SPACE = re.compile(r"R\W*\s*\^\s*\{?\s*\(?\s*(\d{1,3})\s*(?:(?:\\times|×|x)\s*(\d{1,3}))?")
_DOUBLE_SPACE = re.compile(r"ℝ\s*\^?\s*\{?\s*(\d{1,3}|[²³])\s*(?:(?:\\times|×|x|ˣ)\s*(\d{1,3}))?")


class Relations:
    """Judges what is no equality.

    Args:
        weighing: what expressions come to.
        priors: what is known of what stands left.
        members: by which the right side is read.
        marks: where the verdict is noted.
        roots: what letters with several values may be.
    """

    def __init__(
        self, weighing: Weighing, priors: Priors, members: Members, marks: Marks, roots: Roots
    ) -> None:
        self._weighing = weighing
        self._roots = roots
        self._priors = priors
        self._members = members
        self._marks = marks

    def judge(self, chain: Chain, member: Member, passage: Passage) -> Chain:
        """Looks at a relation between what a chain comes to and a member.

        Returns:
            A chain that begins with the member.
        """
        line = passage.line_of(member) if member.pieces else chain.line
        text = passage.text_of(member)
        new = Chain(line, subject=text)
        if member.relation not in _ORDER:
            if member.relation != "∈" or not self._is_listed(chain, member, passage, new):
                self._membership(chain, member.relation, new)
            return new
        try:
            node = self._members.read(member, passage)
        except FormulaError as error:
            self._marks.unread(line, text, str(error), chain.subject)
            return new
        new.head = node
        link = Link(node, line, text)
        new.links.append(link)
        self._weighing.begin(new, node)
        self._order(chain, member.relation, link, new)
        return new

    def _is_listed(self, chain: Chain, member: Member, passage: Passage, new: Chain) -> bool:
        """Judges x ∈ {1, 3}, where it is known what x may be; whether it is such a set."""
        if not isinstance(chain.head, Name) or not any(p.is_sign(r"\{") for p in member.pieces):
            return False
        try:
            node = self._members.read(member, passage)
        except FormulaError:
            return False
        display = display_of(node)
        roots = self._roots.of(chain.head.text, chain.before)
        if display is None or not roots:
            return False
        left = list(roots)
        for digits in display.flat:
            met = next((r for r in left if digits.is_rounding_of(r.true)), None)
            left = [r for r in left if r is not met]
        is_right = not left and len(display.flat) == len(roots)
        link = Link(node, new.line, new.subject)
        right = ", ".join(sorted(spelled_band(root.true) for root in roots))
        if is_right:
            self._marks.say(chain, link, Verdict.OK)
        else:
            self._marks.say(chain, link, Verdict.WRONG, right, Slip.ARITHMETIC.value)
        return True

    def _order(self, chain: Chain, relation: str, link: Link, new: Chain) -> None:
        """a < b, of numbers."""
        left = chain.shown
        if not left and chain.head:
            left = self._weighing.bands(chain.head, View.SHOWN)
        if not chain.head or not left or not new.shown:
            return
        a, b = left[0], new.shown[0]
        if a.shape != () or b.shape != ():
            return
        slack = 1e-9 * (abs(a.mid) + abs(b.mid))
        is_false = {
            "<": a.low > b.high + slack, "≤": a.low > b.high + slack,
            ">": a.high < b.low - slack, "≥": a.high < b.low - slack, "≠": False,
        }[relation]  # fmt: skip
        if is_false:
            self._marks.say(chain, link, Verdict.WRONG, spelled_band(b), Slip.INEQUALITY.value)
        else:
            self._marks.say(chain, link, Verdict.OK)

    def _membership(self, chain: Chain, relation: str, new: Chain) -> None:
        """W ∈ ℝ^{2×3}: the shape of what stands left."""
        line, text = new.line, new.subject
        found = _ROMAN_SPACE.search(text) or _DOUBLE_SPACE.search(text)
        if relation != "∈" or found is None or chain.head is None:
            self._marks.unread(line, text, f"the relation {relation}", chain.subject)
            return
        true = self._weighing.bands(chain.head, View.TRUE)
        if not true and isinstance(chain.head, Derivative):
            prior = self._priors.of_derivative(chain.head)
            true = prior.true if prior else []
        if not true:
            why = self._marks.why_not(chain.head)
            self._marks.unread(line, text, why, chain.subject)
            return
        rows = int(found[1]) if found[1].isdecimal() else {"²": 2, "³": 3}[found[1]]
        claimed = (rows, int(found[2])) if found[2] else (rows, 1)
        shapes = [band.shape or (1, 1) for band in true]
        is_right = any(
            shape == claimed or (1 in shape and shape[::-1] == claimed) for shape in shapes
        )
        link = Link(chain.head, line, text)
        if is_right:
            self._marks.say(chain, link, Verdict.OK)
        else:
            right = "×".join(map(str, shapes[0]))
            self._marks.say(chain, link, Verdict.WRONG, right, Slip.SHAPE.value)
