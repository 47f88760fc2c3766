"""Two signs: a chain with a ± in it, judged once with each sign."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import zip_longest

from thalweg.sheet.marking._chain import Chain
from thalweg.sheet.marking._ledger import Ledger
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._roots import Root, Roots
from thalweg.sheet.marking._step import Step, Verdict
from thalweg.symbolic.paper import Mark, Member

_BOTH = ("±", "∓")


class TwoSigns:
    """Judges x = 2 ± √1 as x = 2 + √1 and as x = 2 − √1.

    Args:
        ledger: what the page has said.
        marks: where the verdicts are noted.
        roots: where both values are kept.
    """

    def __init__(self, ledger: Ledger, marks: Marks, roots: Roots) -> None:
        self._ledger = ledger
        self._marks = marks
        self._roots = roots

    @staticmethod
    def stand_in(members: Sequence[Member]) -> bool:
        """Whether one of the members has both signs."""
        return any(_has_both(member) for member in members)

    def judge(
        self, members: Sequence[Member], judged: Callable[[Sequence[Member]], Chain | None]
    ) -> None:
        """Judges both chains and notes one verdict for each member.

        Args:
            members: of the chain.
            judged: judges a chain with one sign, and returns it.
        """
        upper, first = self._best(members, True, judged)
        lower, second = self._best(members, False, judged)
        is_double = [_has_both(member) for member in members[1:]]
        for at, (one, other) in enumerate(zip_longest(upper, lower)):
            both = is_double[at] if len(upper) == len(lower) == len(is_double) else True
            self._marks.steps.append(_joined(one, other, both))
        if first is None or second is None or not _is_computed(members):
            return
        target = first.target
        if target is not None and first.true and first.shown and second.true and second.shown:
            self._roots.offer(
                target,
                [Root(chain.true[0], chain.shown[0], chain.is_off) for chain in (first, second)],
            )

    def _best(
        self,
        members: Sequence[Member],
        is_upper: bool,
        judged: Callable[[Sequence[Member]], Chain | None],
    ) -> tuple[list[Step], Chain | None]:
        """The steps of one sign; from a wrong one on with the other, if all is right then.

        2 ± (−1) = 2 ± 1 says the same in another order.
        """
        steps, chain = self._one(_with_sign(members, is_upper, len(members)), judged)
        wrong = next((at for at, s in enumerate(steps) if s.verdict is Verdict.WRONG), None)
        if wrong is not None and len(steps) == len(members) - 1 and _has_both(members[wrong + 1]):
            turned, other = self._one(_with_sign(members, is_upper, wrong + 1), judged)
            if not any(step.verdict is Verdict.WRONG for step in turned):
                return turned, other
        return steps, chain

    def _one(
        self, members: Sequence[Member], judged: Callable[[Sequence[Member]], Chain | None]
    ) -> tuple[list[Step], Chain | None]:
        """The steps of a chain; what it says of its target is not written down."""
        kept = dict(self._ledger.quantities)
        epoch, start = self._ledger.epoch, len(self._marks.steps)
        chain = judged(members)
        steps = self._marks.steps[start:]
        del self._marks.steps[start:]
        self._ledger.restore(kept, epoch)
        return steps, chain


def _has_both(member: Member) -> bool:
    return any(piece.is_sign(*_BOTH) for piece in member.pieces)


def _with_sign(members: Sequence[Member], is_upper: bool, turns_at: int) -> list[Member]:
    """Members with one sign for each ±, the other from a place on."""
    found = []
    for at, member in enumerate(members):
        upper = is_upper if at < turns_at else not is_upper
        signs = {"±": "+" if upper else "-", "∓": "-" if upper else "+"}
        pieces = tuple(
            replace(piece, text=signs[piece.text]) if piece.is_sign(*_BOTH) else piece
            for piece in member.pieces
        )
        found.append(Member(member.relation, pieces))
    return found


def _is_computed(members: Sequence[Member]) -> bool:
    """Whether a ± stands in a computation, such as that of a root; 0.52 ± 0.01 has an error."""
    pieces = [piece for member in members if _has_both(member) for piece in member.pieces]
    return any(piece.is_sign("√", "/") or piece.mark is Mark.COMMAND for piece in pieces)


def _joined(one: Step | None, other: Step | None, both: bool) -> Step:
    """One verdict out of two: with a ± both must be right, otherwise one of them."""
    steps = [step for step in (one, other) if step is not None]
    order = [Verdict.WRONG, Verdict.CARRIED, Verdict.UNREAD, Verdict.OK]
    if not both:
        order = [Verdict.OK, Verdict.CARRIED, Verdict.UNREAD, Verdict.WRONG]
    found = min(steps, key=lambda step: order.index(step.verdict))
    rights = list(dict.fromkeys(s.right for s in steps if s.verdict is found.verdict and s.right))
    return replace(found, right=", ".join(rights))
