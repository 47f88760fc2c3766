"""Judge: every chain of equalities, in the order of the page, against what was said before."""

from __future__ import annotations

import re
from collections.abc import Sequence

from thalweg._errors import FormulaError
from thalweg.sheet.marking._chain import Chain, Link
from thalweg.sheet.marking._claims import Claims
from thalweg.sheet.marking._conditions import Conditions
from thalweg.sheet.marking._digits import digits_of, display_of, is_numeric
from thalweg.sheet.marking._formulas import Formulas
from thalweg.sheet.marking._heads import Heads
from thalweg.sheet.marking._ledger import BudgetSpentError, Ledger
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._members import Members
from thalweg.sheet.marking._page import Item, Row, Skipped, Stretch, Turn
from thalweg.sheet.marking._passage import Passage
from thalweg.sheet.marking._prior import Priors
from thalweg.sheet.marking._rebinding import Rebinding
from thalweg.sheet.marking._relations import EQUAL, Relations
from thalweg.sheet.marking._roots import Roots
from thalweg.sheet.marking._runs import runs_of
from thalweg.sheet.marking._settling import settle
from thalweg.sheet.marking._step import Step
from thalweg.sheet.marking._tables import Tables
from thalweg.sheet.marking._two_signs import TwoSigns
from thalweg.sheet.marking._values import Values
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Binary, Expression, Name, Operator
from thalweg.symbolic.paper import (
    Hand,
    Mark,
    Member,
    Piece,
    chains_of,
    pieces_of,
    unwrapped,
    without_units,
)

_RESULTS = re.compile(
    r"wert|value|valeur|ergebnis|result|résultat|formel|formula|formule", re.IGNORECASE
)
"""Heads of columns with values of quantities."""

_RELATED = re.compile(r"[=≈]|\\approx")


class Judge:
    """Reads a page item by item and notes a step for every link.

    Args:
        hand: how the page writes numbers.
        ledger: what is known beforehand.
    """

    def __init__(self, hand: Hand, ledger: Ledger) -> None:
        self._hand = hand
        self._ledger = ledger
        values = Values(ledger)
        weighing = Weighing(values)
        rebinding = Rebinding(values, weighing)
        self._roots = Roots(values)
        priors = Priors(values, weighing, rebinding, self._roots)
        self._marks = Marks(values)
        self._claims = Claims(ledger, priors, rebinding, self._marks)
        self._members = Members(ledger, weighing, self._claims)
        self._heads = Heads(ledger, weighing)
        self._conditions = Conditions(weighing, priors, self._roots)
        self._formulas = Formulas(values, weighing, priors, rebinding, self._marks)
        self._relations = Relations(weighing, priors, self._members, self._marks, self._roots)
        self._two_signs = TwoSigns(ledger, self._marks, self._roots)
        self._tables = Tables(values, weighing, self._marks, hand)
        self._last: Chain | None = None

    @property
    def steps(self) -> list[Step]:
        """What was noted so far."""
        return self._marks.steps

    def read(self, item: Item) -> None:
        """Judges what an item says."""
        if not isinstance(item, Row):
            self._tables.end()
        if isinstance(item, Turn):
            self._ledger.turn += 1
            self._last = None
        elif isinstance(item, Skipped):
            self._marks.unread(item.line, item.text, item.why, "")
        elif isinstance(item, Row):
            self._row(item)
        else:
            self._stretch(item)

    def finish(self) -> None:
        """Judges what was kept until more would come."""
        self._tables.end()

    def pass_over(self, item: Stretch | Row | Skipped) -> None:
        """Says of an item that it was not judged."""
        text = item.text if isinstance(item, Stretch | Skipped) else str(item)
        self._marks.unread(item.line, text[:80], "the page has more steps than are judged", "")

    # Stretches and rows

    def _stretch(self, stretch: Stretch) -> None:
        is_plain = stretch.is_plain and "\\" not in stretch.text
        passage = Passage(stretch, Hand(self._hand.has_comma, is_plain))
        pieces = unwrapped(pieces_of(stretch.text, passage.hand))
        if any(piece.mark in (Mark.NUMBER, Mark.CUT) for piece in pieces):
            try:
                pieces = without_units(pieces, stretch.text, self._ledger)
            except FormulaError as error:
                self._last = None
                self._marks.unread(stretch.line, stretch.text.strip()[:400], str(error), "")
                return
        if not stretch.is_plain:
            self._chains(pieces, passage)
            return
        for run in runs_of(pieces, self._ledger):
            self._chains(run, passage)

    def _row(self, row: Row) -> None:
        """A row of a table: a name, its formula, its value."""
        cells = [cell for cell in row.cells if cell.text.strip()]
        if len(cells) < 2:
            return
        if any(_RELATED.search(cell.text) for cell in cells):
            is_valued = len(cells) == 2 and not _RELATED.search(cells[1].text)
            if is_valued and re.search(r"\d", cells[1].text):
                # L = ½(o − y)² in one cell, its value in the next.
                self._joined(cells, row.line)
                return
            for cell in cells:
                self._stretch(cell)
            return
        if not any(re.search(r"\d", cell.text) for cell in cells[1:]):
            return
        is_listing = len(cells) == 2 or any(_RESULTS.search(head) for head in row.header)
        if not is_listing or re.fullmatch(r"\s*[\d.,]+\s*", cells[0].text) or len(cells) > 3:
            self._tables.take(row)
            return
        self._tables.end()
        self._joined(cells, row.line)

    def _joined(self, cells: Sequence[Stretch], line: int) -> None:
        """The cells of a row as one chain."""
        joined = " = ".join(cell.text.strip() for cell in cells)
        is_plain = all(cell.is_plain for cell in cells) and "\\" not in joined
        hand = Hand(self._hand.has_comma, is_plain)
        self._last = None
        self._chains(pieces_of(joined, hand), Passage(Stretch(joined, line), hand))
        self._last = None

    # Chains

    def _chains(self, pieces: Sequence[Piece], passage: Passage) -> None:
        for members in chains_of(_without_brackets(pieces)):
            try:
                self._judge(members, passage)
            except BudgetSpentError:
                self._give_up(members, passage)
            except RecursionError:
                self._last = None
                line, text = passage.first_line(members), passage.text_of(members[-1])
                self._marks.unread(line, text, "nested too deeply", "")

    def _give_up(self, members: Sequence[Member], passage: Passage) -> None:
        """A page beyond its budget is not computed any further; what is left is listed."""
        self._last = None
        for member in members[1:]:
            line, text = passage.line_of(member), passage.text_of(member)
            self._marks.unread(line, text, "the page is too long", "")

    def _judge(self, members: Sequence[Member], passage: Passage) -> None:
        """A chain, or both chains that a ± stands for."""
        if len(members) > 1 and TwoSigns.stand_in(members):
            self._two_signs.judge(members, lambda signed: self._chain(signed, passage))
            self._last = None
            return
        chain = self._chain(members, passage)
        if chain is not None:
            self._roots.note(chain.target, chain.shown)

    def _chain(self, members: Sequence[Member], passage: Passage) -> Chain | None:
        first = members[0]
        if len(members) == 1 and not first.relation:
            # A formula without a relation claims nothing, unless statements stand within it.
            self._last = None
            if any(piece.mark is Mark.OPEN for piece in first.pieces) and any(
                piece.mark is Mark.RELATION for piece in first.pieces
            ):
                line, text = passage.line_of(first), passage.text_of(first)
                self._marks.unread(line, text, "statements within an environment", "")
            return None
        if first.pieces:
            chain = self._begun(first, passage)
            if self._is_set_aside(chain, members, passage):
                self._last = None
                return None
        else:
            # What a relation at the beginning goes on with stands before on the page.
            last = None if passage.names_another else self._last
            chain = last or Chain(passage.line_of(members[1]))
        self._last = chain
        for member in members[1:]:
            self._ledger.spend()
            if member.relation in EQUAL:
                self._member(chain, member, passage)
            else:
                settle(chain, self._ledger)
                self._last = chain = self._relations.judge(chain, member, passage)
        self._solve(chain)
        settle(chain, self._ledger)
        return chain

    def _solve(self, chain: Chain) -> None:
        """λ² − 4λ + 3 = 0 at the end of a chain says what λ may be, and 2x + y = 5 what x and y."""
        formulas = [link for link in chain.links[:-1] if not is_numeric(link.node)]
        if not formulas or chain.was_wrong:
            return
        if _is_zero(chain.links[-1].node):
            self._roots.solve(formulas[-1].node)
        elif chain.target is None and not chain.entries and not chain.bound:
            self._roots.equate(formulas[-1].node, chain.links[-1].node)

    def _begun(self, member: Member, passage: Passage) -> Chain:
        """A chain with what it begins with, where that can be read."""
        text = passage.text_of(member)
        chain = Chain(passage.line_of(member), text, before=passage.before)
        try:
            head = self._members.read(member, passage)
        except FormulaError as error:
            if not _is_prose(member):
                self._marks.unread(chain.line, text, str(error), text)
        else:
            self._heads.take(chain, head)
        return chain

    def _is_set_aside(self, chain: Chain, members: Sequence[Member], passage: Passage) -> bool:
        """Conditions and equations that are to be solved claim nothing."""
        if len(members) != 2 or members[1].relation not in ("=", "≈"):
            return False
        text = passage.text_of(members[1])
        why = self._conditions.why_set_aside(chain, text, passage.before)
        if why:
            if chain.head is not None and not isinstance(chain.head, Name):
                self._set_aside(chain.head, members[1], passage)
            self._marks.unread(chain.line, text, why, chain.subject)
        return bool(why)

    def _set_aside(self, head: Expression, member: Member, passage: Passage) -> None:
        """What is set aside may be an equation, by which a letter gets its values."""
        try:
            right = self._members.read(member, passage)
        except FormulaError:
            return
        self._roots.solve(head if _is_zero(right) else Binary(Operator.MINUS, head, right))

    def _member(self, chain: Chain, member: Member, passage: Passage) -> None:
        line = passage.line_of(member) if member.pieces else chain.line
        text = passage.text_of(member)
        try:
            node = self._members.read(member, passage)
        except FormulaError as error:
            self._marks.unread(line, text, str(error), chain.subject)
            return
        if self._heads.is_evaluation(chain, node):
            chain.params = None
        if member.relation == ":=":
            chain.is_redefined = True
        link = Link(node, line, text)
        display = display_of(node)
        if display is not None:
            self._claims.claim(chain, display, link, member.relation in ("≈", "~"))
        else:
            self._formulas.judge(chain, link, member, passage)
        chain.links.append(link)


def _without_brackets(pieces: Sequence[Piece]) -> Sequence[Piece]:
    """$(z = 6)$ as z = 6: brackets around all that stands there."""
    if len(pieces) < 3 or not pieces[0].is_sign("(") or not pieces[-1].is_sign(")"):
        return pieces
    depth = 0
    is_related = False
    for at, piece in enumerate(pieces):
        depth += piece.is_sign("(", "[", "{", r"\{") - piece.is_sign(")", "]", "}", r"\}")
        if depth == 0 and at + 1 < len(pieces):
            return pieces
        is_related = is_related or (depth == 1 and piece.mark is Mark.RELATION)
    return pieces[1:-1] if is_related else pieces


def _is_zero(node: Expression) -> bool:
    digits = digits_of(node)
    return digits is not None and digits.value == 0.0


def _is_prose(member: Member) -> bool:
    """Whether nothing in it is a number: words that a parser cannot take for mathematics."""
    return not any(p.mark in (Mark.NUMBER, Mark.CUT, Mark.NAME, Mark.SIGN) for p in member.pieces)
