"""Judge: every chain of equalities, in the order of the page, against what was said before."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from thalweg._errors import FormulaError
from thalweg.sheet.marking._band import Band, UnknownValueError, overlap
from thalweg.sheet.marking._digits import (
    Display,
    digits_of,
    display_of,
    is_numeric,
    spelled_band,
    spelled_like,
)
from thalweg.sheet.marking._evaluate import Reading
from thalweg.sheet.marking._identity import Identity
from thalweg.sheet.marking._ledger import (
    CONSTANTS,
    BudgetSpentError,
    Ledger,
    Quantity,
    key_of,
)
from thalweg.sheet.marking._page import Item, Row, Skipped, Stretch, Turn
from thalweg.sheet.marking._runs import runs_of
from thalweg.sheet.marking._slips import Case, paired, slip_of
from thalweg.sheet.marking._step import Slip, Step, Verdict
from thalweg.sheet.marking._values import Values, View
from thalweg.symbolic._expression import (
    Array,
    Binary,
    Call,
    Expression,
    Name,
    Negative,
    Number,
    Operator,
    Transpose,
)
from thalweg.symbolic._paper import Member, chains_of, written
from thalweg.symbolic._paper_nodes import Derivative
from thalweg.symbolic._paper_tokens import Hand, Mark, Piece, pieces_of

READINGS = (
    Reading(),
    Reading(is_elementwise=True),
    Reading(is_decimal=True),
    Reading(is_elementwise=True, is_decimal=True),
)
"""In this order: an accusation stands only if a step is wrong in each."""

NEGLIGIBLE = 1e-6
"""Share of a value that a formula may leave out in silence."""

_EQUAL = frozenset(("=", "≈", ":=", "~"))
_ORDER = frozenset(("<", ">", "≤", "≥", "≠"))
_CONDITION = re.compile(
    r"\b(?:if|when|wenn|falls|sofern|si|quand|lorsque|suppose|assume|angenommen|supposons|until|bis|"
    r"unless|solve|setze|set|setting|löse|résoudre|nullstelle|where)\s*$",
    re.IGNORECASE,
)
_SOLVING = re.compile(
    r"(?:solve|setze|set|setting|löse|lösen|résou\w*|null\w*|zero|zéro|critical|kritisch\w*|"
    r"condition|bedingung|stationär\w*|optimum|minimum|extrem\w*|must|muss|soll|doit)",
    re.IGNORECASE,
)


_LINKS = frozenset(
    [
        "thus",
        "hence",
        "which",
        "gives",
        "giving",
        "get",
        "obtain",
        "then",
        "that",
        "therefore",
        "i.e.",
        "and",
        "equals",
        "this",
        "also",
        "somit",
        "damit",
        "folgt",
        "das",
        "ergibt",
        "gleich",
        "ist",
        "und",
        "erhalten",
        "daher",
        "dann",
        "donc",
        "soit",
        "ainsi",
        "est",
        "vaut",
        "qui",
        "cela",
        "obtient",
        "egal",
        "égal",
    ]
)
"""Words before a relation that go on with what was said."""


@dataclass
class _Link:
    """A member that was read."""

    node: Expression
    line: int
    text: str


@dataclass
class _Chain:
    """What is known about a chain so far.

    Attributes:
        target: the key of what it begins with; None if that is a formula.
        head: what it begins with.
        true: what its members should come to, once for each possibility; empty if not known.
        shown: what they come to as the page carries it on.
        is_off: what is carried on is not what it should be.
        links: its members so far, those that could be read.
        formula: the first formula that says what the target is.
        bound: what letters stand for in this chain alone.
    """

    line: int
    before: str = ""
    target: str | None = None
    head: Expression | None = None
    subject: str = ""
    true: list[Band] = field(default_factory=list)
    shown: list[Band] = field(default_factory=list)
    is_off: bool = False
    links: list[_Link] = field(default_factory=list)
    formula: Expression | None = None
    prior: Expression | None = None
    params: tuple[str, ...] | None = None
    bound: dict[str, Band] = field(default_factory=dict)
    is_redefined: bool = False
    was_given: bool = False
    is_about: bool = False
    others: list[str] = field(default_factory=list)
    entries: list[str] = field(default_factory=list)
    was_wrong: bool = False


@dataclass(frozen=True)
class _Prior:
    """What a quantity should be before a chain says so.

    Args:
        is_firm: by a formula, a derivative or the problem; not by a number that stood there.
    """

    true: list[Band]
    shown: list[Band]
    is_firm: bool
    quantity: Quantity | None
    formula: Expression | None = None


class Judge:
    """Reads a page item by item and notes a step for every link.

    Args:
        hand: how the page writes numbers.
        ledger: what is known beforehand.
    """

    def __init__(self, hand: Hand, ledger: Ledger) -> None:
        self._hand = hand
        self._ledger = ledger
        self._values = Values(ledger)
        self._identity = Identity(self._values)
        self.steps: list[Step] = []
        self._last: _Chain | None = None
        self._is_spent = False

    def read(self, item: Item) -> None:
        """Judges what an item says."""
        if isinstance(item, Turn):
            self._ledger.turn += 1
            self._last = None
        elif isinstance(item, Skipped):
            self._unread(item.line, item.text, item.why, "")
        elif isinstance(item, Row):
            self._row(item)
        else:
            self._stretch(item)

    def pass_over(self, item: Stretch | Row | Skipped) -> None:
        """Says of an item that it was not judged."""
        text = item.text if isinstance(item, Stretch | Skipped) else str(item)
        self._unread(item.line, text[:80], "the page has more steps than are judged", "")

    # Stretches

    def _stretch(self, stretch: Stretch) -> None:
        is_plain = stretch.is_plain and "\\" not in stretch.text
        hand = Hand(self._hand.has_comma, is_plain)
        pieces = pieces_of(stretch.text, hand)
        if not stretch.is_plain:
            self._chains(pieces, stretch, hand)
            return
        for run in runs_of(pieces, self._ledger):
            self._chains(run, stretch, hand)

    def _chains(self, pieces: Sequence[Piece], stretch: Stretch, hand: Hand) -> None:
        for members in chains_of(pieces):
            try:
                self._chain(members, stretch, hand)
            except BudgetSpentError:
                self._give_up(members, stretch)
            except RecursionError:
                self._last = None
                self._unread(
                    _line_of(members, stretch),
                    _text_of(members[-1], stretch),
                    "nested too deeply",
                    "",
                )

    def _give_up(self, members: Sequence[Member], stretch: Stretch) -> None:
        """A page beyond its budget is not computed any further; what is left is listed."""
        self._last = None
        for member in members[1:]:
            self._unread(
                stretch.line_of(_start(member)),
                _text_of(member, stretch),
                "the page is too long",
                "",
            )

    def _row(self, row: Row) -> None:
        """A row of a table: a name, its formula, its value."""
        cells = [cell for cell in row.cells if cell.text.strip()]
        if len(cells) < 2:
            return
        has_relation = any(re.search(r"[=≈]|\\approx", cell.text) for cell in cells)
        if has_relation:
            for cell in cells:
                self._stretch(cell)
            return
        if not any(re.search(r"\d", cell.text) for cell in cells[1:]):
            return
        is_listing = len(cells) == 2 or any(
            re.search(
                r"wert|value|valeur|ergebnis|result|résultat|formel|formula|formule", head.lower()
            )
            for head in row.header
        )
        if not is_listing or re.fullmatch(r"\s*[\d.,]+\s*", cells[0].text) or len(cells) > 3:
            self._unread(row.line, " | ".join(cell.text for cell in cells), "a table", "")
            return
        joined = " = ".join(cell.text.strip() for cell in cells)
        is_plain = all(cell.is_plain for cell in cells) and "\\" not in joined
        self._last = None
        self._chains(
            pieces_of(joined, Hand(self._hand.has_comma, is_plain)),
            Stretch(joined, row.line),
            Hand(self._hand.has_comma, is_plain),
        )
        self._last = None

    # Chains

    def _chain(self, members: Sequence[Member], stretch: Stretch, hand: Hand) -> None:
        if len(members) == 1 and not members[0].relation:
            self._alone(members[0], stretch)
            return
        line = stretch.line_of(_start(members[0]) if members[0].pieces else _start(members[1]))
        if not members[0].pieces:
            chain = None if _names_another(stretch) else self._last
            if chain is None:
                chain = _Chain(line, subject="")
        else:
            chain = _Chain(line, stretch.before)
            self._begin(chain, members[0], stretch, hand)
            if self._is_set_aside(chain, members, stretch):
                return
        self._last = chain
        for member in members[1:]:
            self._ledger.spend()
            if member.relation in _EQUAL:
                self._member(chain, member, stretch, hand)
            else:
                chain = self._other_relation(chain, member, stretch, hand)
                self._last = chain
        self._settle(chain)

    def _alone(self, member: Member, stretch: Stretch) -> None:
        """A formula without a relation claims nothing, unless a sum goes on from another line."""
        self._last = None

    def _read(
        self, member: Member, stretch: Stretch, hand: Hand, is_tight: bool = False
    ) -> Expression:
        found = written(member.pieces, self._ledger, hand, is_tight)
        for note in found.notes:
            self._note(found.expression, note.of, note.pieces, stretch, hand)
        return found.expression

    def _note(
        self,
        whole: Expression,
        of: Expression,
        pieces: Sequence[Piece],
        stretch: Stretch,
        hand: Hand,
    ) -> None:
        """What stands below a brace is a claim of its own where it is a number."""
        if not any(p.mark is Mark.NUMBER for p in pieces):
            return
        if any(p.mark is Mark.TEXT for p in pieces):
            return
        try:
            below = written(
                [p for p in pieces if p.mark is not Mark.RELATION], self._ledger, hand
            ).expression
        except FormulaError:
            return
        display = display_of(below)
        if display is None:
            return
        line = stretch.line_of(pieces[0].start)
        chain = _Chain(line, head=of)
        self._weigh_head(chain, of)
        if chain.true:
            text = stretch.text[pieces[0].start : pieces[-1].end]
            self._claim(chain, display, _Link(below, line, text), False)

    def _begin(self, chain: _Chain, member: Member, stretch: Stretch, hand: Hand) -> None:
        """Reads what a chain begins with."""
        text = _text_of(member, stretch)
        chain.subject = text
        try:
            head = self._read(member, stretch, hand)
        except FormulaError as error:
            if not _is_prose(member):
                self._unread(chain.line, text, str(error), text)
            return
        if isinstance(head, Binary) and head.operator is Operator.POWER:
            # a^2 = …: the layer of a name that has no value without it.
            base, power = head.left, head.right
            if isinstance(base, Name) and isinstance(power, Number) and power.text.isdigit():
                if self._ledger.find(base.text) is None and base.text not in CONSTANTS:
                    head = Name(f"{base.text}^{power.text}")
        chain.head = head
        chain.links.append(_Link(head, chain.line, text))
        plain = head.of if isinstance(head, Transpose) else head
        if isinstance(plain, Call) and self._is_definable(plain):
            chain.params = tuple(arg.text for arg in plain.args if isinstance(arg, Name))
        chain.target = key_of(plain)
        if isinstance(plain, Call) and not chain.params and self._has_value(plain):
            # σ(6) = …: nothing is defined, something is computed.
            chain.target = None
        if isinstance(plain, Array):
            names = [cell for item in plain.items for cell in (item.parts or (item,))]
            if names and all(isinstance(name, Name) for name in names):
                chain.entries = [name.text for name in names if isinstance(name, Name)]
        if chain.target is None and not chain.entries:
            self._weigh_head(chain, head)

    def _is_evaluation(self, chain: _Chain, node: Expression) -> bool:
        """Whether f(w) = 25 says what the f that is known comes to, and defines none."""
        head = chain.head
        return (
            isinstance(head, Call)
            and chain.params is not None
            and len(chain.links) == 1
            and is_numeric(node)
            and self._ledger.is_function(head.function)
            and self._has_value(head)
        )

    def _is_definable(self, call: Call) -> bool:
        """Whether f(x) with letters for arguments may be the definition of f."""
        letters = [arg.text for arg in call.args if isinstance(arg, Name)]
        return (
            len(letters) == len(call.args) == len(set(letters))
            and not call.function.endswith("'")
            and not self._is_builtin(call.function)
            and not self._ledger.is_value(call.function)
            and all(self._is_letter(letter) for letter in letters)
        )

    def _is_letter(self, name: str) -> bool:
        found = self._ledger.find(name)
        return found is None or found.is_given or found.formula is None

    def _is_builtin(self, function: str) -> bool:
        from thalweg.sheet.marking._fields import RISING

        return function in RISING or function in (
            "softmax",
            "log",
            "ln",
            "max",
            "min",
            "sqrt",
            "abs",
            "norm",
        )

    def _has_value(self, node: Expression) -> bool:
        return bool(self._weighed(node, View.TRUE))

    def _weigh_head(self, chain: _Chain, head: Expression) -> None:
        """A formula at the beginning is the first thing that is computed."""
        true, shown = self._weighed(head, View.TRUE), self._weighed(head, View.SHOWN)
        if true and shown:
            chain.true, chain.shown = true, shown
            chain.is_off = self._is_tainted(head) and not _any_overlap(true, shown)

    def _is_tainted(self, node: Expression) -> bool:
        """Whether something in a formula is carried on from an error."""
        return self._ledger.has_wrong and self._values.is_tainted(node)

    def _weighed(
        self,
        node: Expression,
        view: View,
        *,
        is_loose: bool = False,
        swaps_short: bool = False,
        bound: dict[str, Band] | None = None,
    ) -> list[Band]:
        """The values of an expression, once for each reading that makes a difference."""
        found: list[Band] = []
        for reading in READINGS:
            try:
                band = self._values.value(
                    node, view, reading, is_loose=is_loose, swaps_short=swaps_short, bound=bound
                )
            except (UnknownValueError, FormulaError):
                pass
            else:
                if not any(_is_same(band, other) for other in found):
                    found.append(band)
            if not self._values.was_open:
                break
        return found

    # Members

    def _member(self, chain: _Chain, member: Member, stretch: Stretch, hand: Hand) -> None:
        line = stretch.line_of(_start(member)) if member.pieces else chain.line
        text = _text_of(member, stretch)
        try:
            node = self._read(member, stretch, hand)
        except FormulaError as error:
            if not (_is_prose(member) and not member.pieces):
                self._unread(line, text, str(error), chain.subject)
            return
        chain.is_about = member.relation in ("≈", "~")
        if self._is_evaluation(chain, node):
            chain.params = None
        if member.relation == ":=":
            chain.is_redefined = True
        link = _Link(node, line, text)
        display = display_of(node)
        if display is not None:
            self._claim(chain, display, link, member.relation in ("≈", "~"))
        else:
            self._expression(chain, link, member, stretch, hand)
        chain.links.append(link)

    def _expression(
        self, chain: _Chain, link: _Link, member: Member, stretch: Stretch, hand: Hand
    ) -> None:
        """A formula within a chain: it should come to what the chain comes to."""
        node = link.node
        true = self._weighed(node, View.TRUE, bound=chain.bound)
        shown = self._weighed(node, View.SHOWN, bound=chain.bound)
        if not true or not shown:
            self._without_value(chain, link, member.relation)
            return
        loose = shown
        if _has_decimals(node):
            loose = self._weighed(node, View.SHOWN, is_loose=True, bound=chain.bound)
        if not chain.true:
            self._first(chain, link, true, shown + loose)
        verdict = Verdict.OK
        if chain.true:
            verdict = self._compared(chain, link, true, shown, loose)
        if verdict is Verdict.WRONG:
            # a/2b, read the other way.
            tight = self._tight(member, hand, node)
            if tight is not None and _any_overlap(
                self._weighed(tight, View.SHOWN, is_loose=True, bound=chain.bound), chain.true
            ):
                verdict, node = Verdict.OK, tight
                shown = self._weighed(tight, View.SHOWN, bound=chain.bound)
        if verdict in (Verdict.OK, Verdict.CARRIED) and self._is_miscopied(chain, node):
            verdict = Verdict.WRONG
            self._remember_formula(chain, node)
            self._note_step(chain, link, verdict, shown)
            chain.shown = [*shown, *chain.shown]
            return
        if not chain.true:
            chain.true, chain.shown = true, shown
            chain.is_off = self._is_tainted(node) and not _any_overlap(true, shown)
            verdict = Verdict.CARRIED if chain.is_off else Verdict.OK
        elif verdict is Verdict.OK:
            self._note_roundings(chain, node)
            meant = [b for b in chain.true if _any_overlap([b], [*true, *shown, *loose])]
            chain.true = meant or chain.true
            if chain.is_off and _any_overlap(shown + loose, chain.true):
                chain.is_off = False
                chain.shown = []
            chain.shown = [*shown, *chain.shown]
        elif verdict is Verdict.CARRIED:
            chain.shown, chain.is_off = [*shown, *(chain.shown if chain.is_off else ())], True
        self._remember_formula(chain, node)
        self._note_step(chain, link, verdict, [*loose, *shown])
        if verdict is Verdict.WRONG:
            chain.shown, chain.is_off = shown, True

    def _note_roundings(self, chain: _Chain, node: Expression) -> None:
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

    def _is_miscopied(self, chain: _Chain, node: Expression) -> bool:
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

    def _tight(self, member: Member, hand: Hand, node: Expression) -> Expression | None:
        if not any(p.is_sign("/") for p in member.pieces):
            return None
        try:
            found = written(member.pieces, self._ledger, hand, is_tight=True).expression
        except FormulaError:
            return None
        return None if found == node else found

    def _compared(
        self,
        chain: _Chain,
        link: _Link,
        true: list[Band],
        shown: list[Band],
        loose: list[Band],
    ) -> Verdict:
        is_tainted = self._is_tainted(link.node) and not _any_overlap(true, shown)
        if _any_overlap(true, chain.true):
            return (
                Verdict.CARRIED
                if is_tainted and not _any_overlap(loose, chain.true)
                else Verdict.OK
            )
        if _any_overlap([*shown, *loose], chain.true):
            return Verdict.OK
        swapped = self._weighed(
            link.node, View.TRUE, is_loose=True, swaps_short=True, bound=chain.bound
        )
        if _any_overlap(swapped, chain.true):
            is_tainted = self._is_tainted(link.node) and not _any_overlap(swapped, shown)
            return Verdict.CARRIED if is_tainted else Verdict.OK
        if _any_overlap([*shown, *loose], chain.shown):
            return Verdict.CARRIED if chain.is_off else Verdict.OK
        if self._rebinds(chain, link.node) or _is_negligible(shown, chain.true):
            return Verdict.OK
        if self._is_coarse(chain, link.node, shown):
            return Verdict.OK
        return Verdict.WRONG

    def _is_coarse(self, chain: _Chain, node: Expression, shown: list[Band]) -> bool:
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
        for mine in shown:
            for right in chain.true:
                if mine.shape == right.shape:
                    gap = np.abs(np.asarray(mine.mid) - np.asarray(right.mid))
                    if bool(np.all(gap <= share * np.abs(np.asarray(right.mid)))):
                        return True
        return False

    def _rebinds(self, chain: _Chain, node: Expression) -> bool:
        """Whether the chain holds with letters standing for their newest values: w for w₁."""
        formulas = [x.node for x in chain.links if not is_numeric(x.node)]
        if not formulas:
            return False
        for bound in self._rebindings(formulas):
            mine = self._weighed(node, View.SHOWN, is_loose=True, bound=bound)
            for formula in reversed(formulas):
                theirs = self._reference(formula, bound)
                if theirs and _any_overlap(mine, theirs):
                    chain.bound = bound
                    chain.true, chain.shown = theirs, [*mine, *theirs]
                    chain.is_off = False
                    return True
        return False

    def _reference(self, formula: Expression, bound: dict[str, Band]) -> list[Band]:
        if isinstance(formula, Derivative):
            try:
                return self._values.derivatives(formula, View.TRUE, bound)
            except UnknownValueError:
                return []
        if isinstance(formula, Name):
            found = self._ledger.find(formula.text)
            if found is None or found.formula is None or found.params is not None:
                return []
            formula = found.formula
        return self._weighed(formula, View.TRUE, is_loose=True, bound=bound)

    def _rebindings(self, formulas: Iterable[Expression]) -> Iterator[dict[str, Band]]:
        """Letters with the values of others of their family: w as w_2, then as w_1."""
        letters: set[str] = set()
        for formula in formulas:
            letters |= self._letters(formula)
        by_index: dict[str, dict[str, Band]] = {}
        for letter in sorted(letters):
            if re.search(r"[_^']", letter) and not re.search(r"[_^][a-z]([+-]\d)?$", letter):
                continue
            for other, quantity in self._ledger.family(letter):
                value = quantity.shown
                if value is None or quantity.params is not None:
                    continue
                index = other[len(re.split(r"[_^']", other)[0]) :]
                by_index.setdefault(index, {})[letter] = value
        for index in list(by_index)[:8]:
            yield by_index[index]

    def _letters(self, formula: Expression, depth: int = 0) -> set[str]:
        """The names in a formula, and in the formulas of these."""
        found: set[str] = set()
        for part in formula.walk():
            if isinstance(part, Derivative):
                found |= {name.text for name in part.by}
            if isinstance(part, Name) and depth < 6:
                found.add(part.text)
                quantity = self._ledger.find(part.text)
                if quantity is not None and quantity.formula is not None:
                    found |= self._letters(quantity.formula, depth + 1)
            if len(found) > 60:
                break
        return found

    def _without_value(self, chain: _Chain, link: _Link, relation: str) -> None:
        """A formula with letters that stand for nothing yet: a definition, or an identity."""
        previous = chain.links[-1].node if chain.links else None
        if relation == "=" and chain.params is None:
            judged = self._identity.holds(previous, link.node) if previous is not None else None
            if judged is not None:
                self._judged_identity(chain, link, judged)
                self._remember_formula(chain, link.node)
                return
        elif relation == "=" and chain.formula is not None and previous is not None:
            judged = self._identity.holds(chain.formula, link.node)
            if judged is not None:
                self._judged_identity(chain, link, judged)
                return
        is_first = chain.formula is None and chain.target is not None and len(chain.links) <= 1
        self._remember_formula(chain, link.node)
        if isinstance(link.node, Name) and chain.head is not None:
            chain.others.append(link.node.text)
        if is_first and isinstance(chain.head, Name | Call):
            self.steps.append(
                Step(link.line, Verdict.OK, link.text, "", "definition", chain.subject)
            )
        else:
            self._unread(link.line, link.text, self._why(link.node), chain.subject)

    def _judged_identity(self, chain: _Chain, link: _Link, holds: bool) -> None:
        if holds:
            self.steps.append(Step(link.line, Verdict.OK, link.text, "", "", chain.subject))
            return
        kind = self._identity.slip(chain.links[-1].node, link.node)
        self.steps.append(Step(link.line, Verdict.WRONG, link.text, "", kind.value, chain.subject))

    def _why(self, node: Expression) -> str:
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

    def _remember_formula(self, chain: _Chain, node: Expression) -> None:
        if chain.formula is None or (is_numeric(chain.formula) and not is_numeric(node)):
            chain.formula = node

    # The first value of a chain against what its target should be

    def _first(self, chain: _Chain, link: _Link, true: list[Band], shown: list[Band]) -> None:
        """Sets what a chain should come to, where that is known before."""
        prior = self._prior(chain)
        if prior is None:
            return
        if _any_overlap([*true, *shown], [*prior.true, *prior.shown]):
            self._adopt(chain, prior)
            return
        if self._may_redefine(chain, link, prior):
            chain.is_redefined = True
            return
        self._adopt(chain, prior)

    def _adopt(self, chain: _Chain, prior: _Prior) -> None:
        chain.true = prior.true
        chain.shown = prior.shown
        chain.prior = prior.formula
        head = chain.head
        node = prior.formula or (head.of if isinstance(head, Transpose) else head)
        chain.is_off = (
            node is not None
            and self._is_tainted(node)
            and bool(prior.shown)
            and not _any_overlap(prior.true, prior.shown)
        )

    def _prior(self, chain: _Chain) -> _Prior | None:
        """What the target should be by its formula, by the definitions, or as it was said."""
        head = chain.head
        if chain.is_redefined or head is None:
            return None
        flipped = isinstance(head, Transpose)
        plain = head.of if isinstance(head, Transpose) else head
        found: _Prior | None = None
        if isinstance(plain, Name):
            found = self._prior_of_name(plain)
        elif isinstance(plain, Derivative):
            found = self._prior_of_derivative(plain)
        elif isinstance(plain, Call) and chain.params is None:
            true, shown = self._weighed(plain, View.TRUE), self._weighed(plain, View.SHOWN)
            if true and shown:
                found = _Prior(true, shown, True, self._ledger.quantities.get(chain.target or ""))
        elif chain.entries:
            true, shown = self._weighed(plain, View.TRUE), self._weighed(plain, View.SHOWN)
            if true and shown:
                found = _Prior(true, shown, False, None)
        if found is None or not flipped:
            return found
        return _Prior(
            [_turned(b) for b in found.true],
            [_turned(b) for b in found.shown],
            found.is_firm,
            found.quantity,
            found.formula,
        )

    def _prior_of_name(self, name: Name) -> _Prior | None:
        quantity = self._ledger.find(name.text)
        if quantity is None:
            owner = self._values.owner(name.text)
            if owner is None:
                return None
            true, shown = self._weighed(name, View.TRUE), self._weighed(name, View.SHOWN)
            whole = self._ledger.find(owner[0])
            is_firm = whole is not None and whole.formula is not None
            return _Prior(true, shown, is_firm, whole) if true and shown else None
        if quantity.params is not None:
            return None
        if quantity.formula is not None and not quantity.is_opaque:
            true = self._weighed(quantity.formula, View.TRUE)
            shown = self._weighed(quantity.formula, View.SHOWN)
            shown += [quantity.shown] if quantity.shown is not None else []
            true += [quantity.true] if quantity.true is not None else []
            if true and shown:
                return _Prior(true, shown, True, quantity, quantity.formula)
        if quantity.true is None or quantity.shown is None:
            return None
        return _Prior([quantity.true], [quantity.shown], quantity.is_from_problem, quantity, None)

    def _prior_of_derivative(self, node: Derivative) -> _Prior | None:
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
                return _Prior([claimed.true], [claimed.shown], False, claimed)
            shown = [claimed.shown, *shown]
        return _Prior(true, shown, True, claimed) if true else None

    def _may_redefine(self, chain: _Chain, link: _Link, prior: _Prior) -> bool:
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
        if self._rebinds(chain, node):
            return True
        if is_later and quantity is not None and quantity.shown is not None:
            return True
        return bool(isinstance(chain.head, Derivative) and self._ledger.epoch > 0 and is_later)

    # Claims

    def _claim(self, chain: _Chain, display: Display, link: _Link, is_about: bool) -> None:
        """Digits that are displayed: a correct rounding of what is right, or of what follows?"""
        if not chain.true:
            written_band = [display.band("value")]
            self._first_display(chain, display, link, written_band, is_about)
            if not chain.true:
                self._give(chain, display, link, is_about)
                return
        right = next((b for b in chain.true if display.is_rounding_of(b, is_about)), None)
        follows = next((b for b in chain.shown if display.is_rounding_of(b, is_about)), None)
        if right is None and follows is None and self._rebinds_claim(chain, display, is_about):
            right = chain.true[0]
        if right is not None:
            verdict = Verdict.OK
            # Of several readings the page means the one that it works with.
            chain.true = [b for b in chain.true if display.is_rounding_of(b, is_about)] or [right]
            if chain.is_off and follows is not None and chain.was_wrong:
                # Too few digits to tell the error from what is right.
                chain.is_off = True
            else:
                chain.is_off = chain.is_off and follows is not None and right is None
        elif follows is not None:
            verdict = Verdict.CARRIED if chain.is_off else Verdict.OK
        else:
            verdict = Verdict.WRONG
        basis = follows if follows is not None else right
        carried = _carried_on(display, basis)
        self._note_step(chain, link, verdict, [display.band("value")], display)
        if verdict is Verdict.WRONG:
            chain.is_off = True
        chain.shown = [carried]
        self._record(chain, display, carried, right)

    def _rebinds_claim(self, chain: _Chain, display: Display, is_about: bool) -> bool:
        formulas = [x.node for x in chain.links if not is_numeric(x.node)]
        if not formulas or isinstance(chain.links[-1].node, Number):
            return False
        if is_numeric(chain.links[-1].node):
            return False
        for bound in self._rebindings(formulas):
            for formula in reversed(formulas):
                theirs = self._reference(formula, bound)
                found = next((b for b in theirs if display.is_rounding_of(b, is_about)), None)
                if found is not None:
                    chain.bound, chain.true, chain.shown = bound, [found], [found]
                    chain.is_off = False
                    return True
        return False

    def _first_display(
        self,
        chain: _Chain,
        display: Display,
        link: _Link,
        band: list[Band],
        is_about: bool,
    ) -> None:
        prior = self._prior(chain)
        if prior is None:
            return
        agrees = any(display.is_rounding_of(b, is_about) for b in [*prior.true, *prior.shown])
        if not agrees and self._may_redefine(chain, link, prior):
            chain.is_redefined = True
            return
        self._adopt(chain, prior)

    def _give(self, chain: _Chain, display: Display, link: _Link, is_about: bool) -> None:
        """A number that is given: nothing on the page says what it should be."""
        band = display.band("band" if is_about else "value")
        if any(d.is_cut for d in display.flat):
            band = display.band()
        chain.true, chain.shown = [band], [band]
        chain.was_given = len(chain.links) <= 1
        if chain.was_given and not is_about:
            for digits in display.flat:
                self._ledger.give(digits)
        if chain.head is None:
            self._unread(link.line, link.text, "what it is equal to was not read", chain.subject)
            return
        if chain.target is None and not chain.entries:
            self._unread(link.line, link.text, self._why(chain.head), chain.subject)
            return
        kind = "given" if chain.formula is None else ""
        if chain.formula is not None:
            # A formula without a value, then a number: nobody can say whether it is right.
            self._unread(link.line, link.text, self._why(chain.formula), chain.subject)
        else:
            self.steps.append(Step(link.line, Verdict.OK, link.text, "", kind, chain.subject))
        if chain.formula is not None:
            self._record(chain, display, band, band)

    def _record(self, chain: _Chain, display: Display, carried: Band, right: Band | None) -> None:
        """Writes down what is displayed, so that copies of it are known further down."""
        true = next((b for b in chain.true if display.fits(b) is not None), None)
        fitted = display.fits(carried)
        if true is None or fitted is None:
            return
        oriented = true if true.shape == carried.shape else _turned(true)
        if fitted.is_number:
            self._ledger.record(fitted.digits, carried, oriented, chain.is_off)
            return
        for i, row in enumerate(fitted.rows):
            for j, digits in enumerate(row):
                self._ledger.record(digits, carried.entry(i, j), oriented.entry(i, j), chain.is_off)

    def _note_step(
        self,
        chain: _Chain,
        link: _Link,
        verdict: Verdict,
        mine: list[Band],
        display: Display | None = None,
    ) -> None:
        right = kind = ""
        if verdict in (Verdict.WRONG, Verdict.CARRIED) and chain.true:
            true = chain.true[0]
            right = spelled_band(true) if display is None else spelled_like(true, display)
        if verdict is Verdict.WRONG:
            chain.was_wrong = self._ledger.has_wrong = True
            kind = self._kind(chain, link, mine, display).value
        self.steps.append(Step(link.line, verdict, link.text, right, kind, chain.subject))

    def _kind(self, chain: _Chain, link: _Link, mine: list[Band], display: Display | None) -> Slip:
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

    # Other relations

    def _other_relation(
        self, chain: _Chain, member: Member, stretch: Stretch, hand: Hand
    ) -> _Chain:
        """a < b is looked at, and what follows starts from b."""
        line = stretch.line_of(_start(member)) if member.pieces else chain.line
        text = _text_of(member, stretch)
        self._settle(chain)
        new = _Chain(line, subject=text)
        if member.relation not in _ORDER:
            return self._membership(chain, member, text, line)
        try:
            node = self._read(member, stretch, hand)
        except FormulaError as error:
            self._unread(line, text, str(error), chain.subject)
            return new
        new.head = node
        new.links.append(_Link(node, line, text))
        self._weigh_head(new, node)
        left = chain.shown or self._weighed(chain.head, View.SHOWN) if chain.head else []
        if not left or not new.shown:
            return new
        a, b = left[0], new.shown[0]
        if a.shape != () or b.shape != ():
            return new
        slack = 1e-9 * (abs(a.mid) + abs(b.mid))
        is_false = {
            "<": a.low > b.high + slack, "≤": a.low > b.high + slack,
            ">": a.high < b.low - slack, "≥": a.high < b.low - slack, "≠": False,
        }[member.relation]  # fmt: skip
        verdict = Verdict.WRONG if is_false else Verdict.OK
        kind = Slip.INEQUALITY.value if is_false else ""
        self.steps.append(
            Step(line, verdict, text, spelled_band(b) if is_false else "", kind, chain.subject)
        )
        return new

    def _membership(self, chain: _Chain, member: Member, text: str, line: int) -> _Chain:
        """W ∈ ℝ^{2×3}: the shape of what stands left."""
        new = _Chain(line, subject=text)
        found = re.search(
            r"R\W*\s*\^\s*\{?\s*\(?\s*(\d{1,3})\s*(?:(?:\\times|×|x)\s*(\d{1,3}))?", text
        ) or re.search(r"ℝ\s*\^?\s*\{?\s*(\d{1,3}|[²³])\s*(?:(?:\\times|×|x|ˣ)\s*(\d{1,3}))?", text)
        if member.relation != "∈" or found is None or chain.head is None:
            if member.relation not in ("∈", "∉", "∋", "⊂"):
                self._unread(line, text, f"the relation {member.relation}", chain.subject)
            return new
        true = self._weighed(chain.head, View.TRUE)
        if not true and isinstance(chain.head, Derivative):
            prior = self._prior_of_derivative(chain.head)
            true = prior.true if prior else []
        if not true:
            return new
        rows = int(found[1]) if found[1].isdigit() else {"²": 2, "³": 3}[found[1]]
        claimed = (rows, int(found[2])) if found[2] else (rows, 1)
        shapes = [band.shape or (1, 1) for band in true]
        is_right = any(
            shape == claimed or (1 in shape and shape[::-1] == claimed) for shape in shapes
        )
        shown = "×".join(map(str, shapes[0]))
        self.steps.append(
            Step(line, Verdict.OK if is_right else Verdict.WRONG, text,
                 "" if is_right else shown, "" if is_right else Slip.SHAPE.value, chain.subject)
        )  # fmt: skip
        return new

    def _is_set_aside(self, chain: _Chain, members: Sequence[Member], stretch: Stretch) -> bool:
        """Conditions and equations that are to be solved claim nothing."""
        if len(members) != 2 or members[1].relation not in ("=", "≈"):
            return False
        text = _text_of(members[1], stretch)
        if _CONDITION.search(stretch.before):
            prior = self._prior(chain) if chain.head is not None else None
            if prior is not None and prior.is_firm:
                self._unread(chain.line, text, "a condition, not a result", chain.subject)
                self._last = None
                return True
        if re.fullmatch(r"[\\,;!\s]*(0|\\mathbf\{?0\}?|\\vec\{?0\}?)[.,\s]*", text):
            head = chain.head
            is_formula = head is not None and not isinstance(head, Name) and not is_numeric(head)
            is_about = isinstance(head, Call | Derivative) or chain.target is None
            if is_formula and is_about and not self._is_zero(chain):
                is_solving = (
                    not isinstance(head, Derivative)
                    or not head.by
                    or bool(_SOLVING.search(stretch.before))
                    or not self._has_value(head)
                )
                if is_solving:
                    self._unread(chain.line, text, "an equation to be solved", chain.subject)
                    self._last = None
                    return True
        return False

    def _is_zero(self, chain: _Chain) -> bool:
        prior = self._prior(chain)
        bands = chain.true or (prior.true if prior else [])
        return any(
            bool(np.all(band.low <= 1e-12) and np.all(band.high >= -1e-12)) for band in bands
        )

    # The end of a chain

    def _settle(self, chain: _Chain) -> None:
        """Writes down what the chain has said about its target."""
        if chain.params is not None and isinstance(chain.head, Call):
            self._settle_function(chain)
            return
        for other in chain.others:
            if self._ledger.find(other) is None and chain.shown:
                self._ledger.put(other, self._quantity(chain, None))
        if chain.entries and chain.shown:
            self._settle_entries(chain)
            return
        if chain.target is None:
            return
        existing = self._ledger.quantities.get(chain.target)
        formula = chain.formula
        if existing is not None and existing.formula is not None and not existing.is_opaque:
            if formula is None or is_numeric(formula):
                formula = existing.formula
        if not chain.shown:
            if formula is not None and not _mentions(formula, chain.target):
                new = Quantity(formula=formula, line=chain.line)
                if existing is not None and not chain.is_redefined:
                    new.shown, new.true = existing.shown, existing.true
                    new.is_given = existing.is_given
                self._ledger.put(chain.target, new)
            return
        if formula is not None and _mentions(formula, chain.target):
            formula = None
        same = existing is not None and existing.shown is not None and _is_same(
            existing.shown, chain.shown[0]
        )  # fmt: skip
        quantity = self._quantity(chain, formula)
        if same and existing is not None:
            quantity.is_given = quantity.is_given or existing.is_given
            epoch = self._ledger.epoch
            self._ledger.put(chain.target, quantity)
            self._ledger.epoch = epoch
            return
        self._ledger.put(chain.target, quantity)
        if existing is not None and not chain.is_redefined:
            # The same quantity to other digits is no new one.
            self._ledger.epoch = quantity.epoch = quantity.epoch - (existing.shown is not None)

    def _quantity(self, chain: _Chain, formula: Expression | None) -> Quantity:
        shown = chain.shown[0]
        true = next((b for b in chain.true if b.shape == shown.shape), chain.true[0])
        if isinstance(chain.head, Transpose):
            shown, true = _turned(shown), _turned(true)
        return Quantity(
            formula=formula,
            shown=shown,
            true=true,
            is_wrong=chain.is_off,
            is_given=chain.was_given,
            is_opaque=formula is not None and is_numeric(formula),
            line=chain.line,
        )

    def _settle_entries(self, chain: _Chain) -> None:
        shown, true = chain.shown[0], chain.true[0]
        if shown.shape == () or shown.shape[0] * shown.shape[1] != len(chain.entries):
            return
        columns = shown.shape[1]
        for at, name in enumerate(chain.entries):
            if self._ledger.find(name) is not None and not chain.is_redefined:
                continue
            place = divmod(at, columns)
            self._ledger.put(
                name,
                Quantity(
                    shown=shown.entry(*place),
                    true=true.entry(*place) if true.shape == shown.shape else shown.entry(*place),
                    is_given=chain.was_given,
                    line=chain.line,
                ),
            )

    def _settle_function(self, chain: _Chain) -> None:
        assert isinstance(chain.head, Call), "looked at before"
        if chain.formula is None or _mentions(chain.formula, chain.head.function):
            return
        self._ledger.put(
            chain.head.function,
            Quantity(formula=chain.formula, params=chain.params, line=chain.line),
        )

    def _unread(self, line: int, text: str, why: str, subject: str) -> None:
        if text.strip():
            self.steps.append(Step(line, Verdict.UNREAD, text, "", why, subject))


def _names_another(stretch: Stretch) -> bool:
    """Whether words right before a relation say what it is about: the error $= 1 - 0.75$."""
    words = re.findall(r"[^\W\d_]{3,}", stretch.before)
    return not stretch.is_plain and bool(words) and words[-1].lower() not in _LINKS


def _start(member: Member) -> int:
    return member.pieces[0].start if member.pieces else 0


def _line_of(members: Sequence[Member], stretch: Stretch) -> int:
    for member in members:
        if member.pieces:
            return stretch.line_of(_start(member))
    return stretch.line


def _text_of(member: Member, stretch: Stretch) -> str:
    if not member.pieces:
        return ""
    text = stretch.text[member.pieces[0].start : member.pieces[-1].end]
    text = re.sub(r"\s*&\s*", " ", text)
    return " ".join(text.split())[:400]


def _is_prose(member: Member) -> bool:
    """Whether nothing in it is a number: words that a parser cannot take for mathematics."""
    return not any(p.mark in (Mark.NUMBER, Mark.CUT, Mark.NAME, Mark.SIGN) for p in member.pieces)


def _any_overlap(these: Sequence[Band], those: Sequence[Band]) -> bool:
    return any(overlap(a, b) for a in these for b in those)


def _is_negligible(mine: Sequence[Band], theirs: Sequence[Band]) -> bool:
    """Whether what was left out is below any digit that is shown: the ε of Adam."""
    return any(
        a.shape == b.shape
        and bool(np.all(np.abs(a.mid - b.mid) <= NEGLIGIBLE * np.abs(np.asarray(b.mid))))
        for a in mine
        for b in theirs
    )


def _is_same(a: Band, b: Band) -> bool:
    return a.shape == b.shape and bool(np.all(a.low == b.low) and np.all(a.high == b.high))


def _turned(band: Band) -> Band:
    return band if band.shape == () else Band(band.low.T, band.mid.T, band.high.T)


def _significant(node: Expression) -> int:
    """The most significant digits that a number of an expression shows."""
    texts = [part.text for part in node.walk() if isinstance(part, Number)]
    digits = [re.sub(r"[eE].*|\D", "", text).lstrip("0") for text in texts]
    return max((len(each) for each in digits), default=1) or 1


def _mentions(node: Expression, key: str) -> bool:
    for part in node.walk():
        if isinstance(part, Name | Call | Derivative) and key_of(part) == key:
            return True
    return False


def _has_decimals(node: Expression) -> bool:
    """Whether there are numbers in it that may be rounded."""
    return any(isinstance(part, Number) and part.place < 1 for part in node.walk())


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


def _carried_on(display: Display, basis: Band | None) -> Band:
    """What a page carries on behind digits: these, or what was rounded to them.

    The calculator may have kept more digits than were shown; with one digit more it is off by a
    twentieth of the last place at most.
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
    is_exact = (basis.low == basis.high) & (basis.mid == value.mid)
    low, high = np.maximum(basis.low, whole.low), np.minimum(basis.high, whole.high)
    low, high = np.minimum(low, high), np.maximum(low, high)
    low, high = np.minimum(low, value.mid), np.maximum(high, value.mid)
    margin = np.where(is_exact | (high - low <= 1e-12 * np.abs(value.mid)), 0.0, 0.05 * place)
    low, high = low - margin, high + margin
    if fitted.is_number:
        return Band(float(low), float(value.mid), float(high))
    return Band(low, value.mid, high)


_ = (Negative, Array)
