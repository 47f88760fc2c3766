"""Tables: iterations row by row, each column by what its head says of the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from thalweg._errors import FormulaError
from thalweg.sheet.marking._band import Band
from thalweg.sheet.marking._case import Case
from thalweg.sheet.marking._digits import Display, display_of, spelled_like
from thalweg.sheet.marking._ledger import BudgetSpentError, Ledger, Quantity
from thalweg.sheet.marking._marks import Marks
from thalweg.sheet.marking._page import Row
from thalweg.sheet.marking._page_sources import View
from thalweg.sheet.marking._slips import slip_of
from thalweg.sheet.marking._step import Step, Verdict
from thalweg.sheet.marking._values import Values
from thalweg.sheet.marking._weighing import Weighing
from thalweg.symbolic._expression import Call, Expression, Name
from thalweg.symbolic.paper import Hand, pieces_of, written

MAX_ROWS = 200
"""Of a table that is read."""

_COUNT = re.compile(
    r"\W*(?:[a-z]|#|nr|no|step\w*|iter\w*|itération\w*|epoch\w*|époque\w*|schritt\w*|étape\w*|pas|"
    r"runde\w*)\W*",
    re.IGNORECASE,
)
_SLOPE = re.compile(r"gradient\w*|grad|slope|ableitung|steigung|dérivée|pente", re.IGNORECASE)
_NEXT = re.compile(r"\b(?:new|next|updated?|neue?[rs]?|nächste[rs]?|nouv\w+|suivante?)\b", re.IGNORECASE)  # fmt: skip  # noqa: E501
_STEPPED = re.compile(r"(.+)_([a-z])\+1")
_RUNNING = "ktnij"


@dataclass
class _Column:
    """A column.

    Args:
        head: what stands above it.
        cells: its numbers; None where something else stands.
        texts: the same as they stand on the page.
        stem: the letter whose values stand in it; "" if it is no letter's.
        formula: what its values are computed by.
        is_next: whether its values stand in the next row again.
        is_said: whether its head is a formula, not a word that is taken for one.
    """

    head: str
    cells: list[Display | None]
    texts: list[str]
    stem: str = ""
    formula: Expression | None = None
    is_next: bool = False
    is_said: bool = True
    right: dict[int, list[Band]] = field(default_factory=dict)


class Tables:
    """Judges tables of numbers.

    Args:
        values: what names stand for.
        weighing: what expressions come to.
        marks: where verdicts are noted.
        hand: how the page writes numbers.
    """

    def __init__(self, values: Values, weighing: Weighing, marks: Marks, hand: Hand) -> None:
        self._values = values
        self._ledger: Ledger = values.ledger
        self._weighing = weighing
        self._marks = marks
        self._hand = hand
        self._rows: list[Row] = []

    def take(self, row: Row) -> None:
        """Keeps a row until its table has ended."""
        if self._rows and self._rows[-1].header != row.header:
            self.end()
        self._rows.append(row)

    def end(self) -> None:
        """Judges the table whose rows were taken.

        A column is judged where most of its numbers are what its head says; otherwise its head was
        not understood, and nobody is accused.
        """
        rows, self._rows = self._rows, []
        rows = [row for row in rows if _texts(row) != [_bare(h) for h in row.header]]
        if not rows:
            return
        try:
            self._judge(rows)
        except (BudgetSpentError, RecursionError):
            for row in rows:
                text = " | ".join(_texts(row))
                self._marks.unread(row.line, text, "the page is too long", "")

    def _judge(self, rows: Sequence[Row]) -> None:
        columns = self._columns(rows)
        judged = [c for c in columns if c.formula is not None or c.is_next or c.stem]
        # Letters first: of what is computed only roundings are carried on.
        for column in sorted(judged, key=lambda c: c.is_next or not c.stem):
            self._compute(column, columns, len(rows))
        trusted = [column for column in judged if _is_trusted(column)]
        for at, row in enumerate(rows):
            self._note(at, row, columns, trusted)
        if trusted:
            self._keep(columns)

    # What the columns are

    def _columns(self, rows: Sequence[Row]) -> list[_Column]:
        header = rows[0].header
        if len(rows) > MAX_ROWS or any(len(row.cells) != len(header) for row in rows):
            return []
        columns = []
        for at, head in enumerate(header):
            texts = [row.cells[at].text.strip() for row in rows]
            columns.append(_Column(head, [self._display(text) for text in texts], texts))
        for column in columns:
            self._name(column)
        stems = [c.stem for c in columns if c.stem and not c.is_next and not _is_count(c)]
        for column in columns:
            if not column.stem and column.formula is None:
                self._by_word(column, stems)
        return columns

    def _display(self, text: str) -> Display | None:
        try:
            return display_of(self._read(text))
        except FormulaError:
            return None

    def _read(self, text: str) -> Expression:
        hand = Hand(self._hand.has_comma, "$" not in text and "\\" not in text)
        bare = _bare(text)
        return written(pieces_of(bare, hand), self._ledger, hand).expression

    def _name(self, column: _Column) -> None:
        """Says whether the head is a letter, the next value of one, or a formula."""
        if _is_count(column) or _NEXT.search(column.head) or _SLOPE.search(column.head):
            return
        try:
            node = self._read(column.head)
        except FormulaError:
            return
        if not isinstance(node, Name):
            column.formula = node
            return
        stepped = _STEPPED.fullmatch(node.text)
        if stepped:
            column.stem, column.is_next = stepped[1], True
        elif re.search(r"_(?:new|neu|next|nouveau)$", node.text):
            column.stem, column.is_next = node.text.rsplit("_", 1)[0], True
        else:
            column.stem = re.sub(rf"_[{_RUNNING}]$", "", node.text)

    def _by_word(self, column: _Column, stems: Sequence[str]) -> None:
        """A head in words: "gradient", "new x"."""
        column.is_said = False
        words = re.findall(r"[^\W\d_]+", column.head)
        named = [stem for stem in stems if stem in words] or list(stems)
        if len(named) != 1:
            return
        functions = [
            name
            for name, quantity in self._ledger.quantities.items()
            if quantity.params is not None and len(quantity.params) == 1 and "'" not in name
        ]
        if _NEXT.search(column.head):
            column.stem, column.is_next = named[0], True
        elif any(_SLOPE.fullmatch(word) for word in words) and len(functions) == 1:
            column.formula = Call(functions[0] + "'", (Name(named[0]),))

    # What they should be

    def _compute(self, column: _Column, columns: Sequence[_Column], num_rows: int) -> None:
        for at in range(num_rows):
            found: list[Band] = []
            if column.formula is not None:
                found = self._values_at(column.formula, columns, at)
            elif column.is_next:
                found = self._stepped(column.stem, columns, at)
                if not found and at + 1 < num_rows:
                    # Without a rule for it, the next row says it.
                    found = [
                        band for c in columns if c.stem == column.stem and not c.is_next
                        for band in _bands(c.cells[at + 1])
                    ]  # fmt: skip
            elif at:
                found = self._stepped(column.stem, columns, at - 1) or [
                    band for c in columns if c.stem == column.stem and c.is_next
                    for band in _bands(c.cells[at - 1])
                ]  # fmt: skip
            if found:
                column.right[at] = found

    def _values_at(self, node: Expression, columns: Sequence[_Column], at: int) -> list[Band]:
        """What a formula comes to with the letters of a row, as written and as rounded."""
        found: list[Band] = []
        for part in (0, 1):
            bound: dict[str, Band] = {}
            for column in columns:
                bands = _bands(column.cells[at])
                if column.stem and not column.is_next and bands:
                    names = [column.stem, *(f"{column.stem}_{letter}" for letter in _RUNNING)]
                    is_rounded = part and at in column.right
                    bound |= dict.fromkeys(names, bands[1 if is_rounded else 0])
            if bound:
                found += self._weighing.bands(node, View.SHOWN, bound=bound)
        return found

    def _stepped(self, stem: str, columns: Sequence[_Column], at: int) -> list[Band]:
        """The next value of a letter, by the rule that the page gives for it."""
        for letter in _RUNNING:
            rule = self._ledger.quantities.get(f"{stem}_{letter}+1")
            if rule is not None and rule.formula is not None:
                return self._values_at(rule.formula, columns, at)
        return []

    # What is noted

    def _note(
        self, at: int, row: Row, columns: Sequence[_Column], trusted: Sequence[_Column]
    ) -> None:
        unread = []
        for column in columns:
            cell, text = column.cells[at], column.texts[at]
            if not text or _is_count(column):
                continue
            if cell is None or not any(column is each for each in trusted):
                is_given = bool(trusted) and bool(column.stem) and cell is not None
                if is_given and not column.right:
                    self._say(row, column, text, Verdict.OK, "", "given")
                else:
                    unread.append(text)
            elif at not in column.right:
                self._say(row, column, text, Verdict.OK, "", "given")
            elif _is_met(cell, column.right[at]):
                self._say(row, column, text, Verdict.OK)
            else:
                self._accuse(row, column, at, cell)
        if unread or not columns:
            text = " | ".join(unread or _texts(row))
            self._marks.unread(row.line, text, "a table", "")

    def _accuse(self, row: Row, column: _Column, at: int, cell: Display) -> None:
        right = column.right[at]
        self._ledger.has_wrong = True
        node = self._read(column.texts[at])
        case = Case(
            values=self._values,
            node=node,
            display=cell,
            claimed=[cell.band("value")],
            right=right,
            formulas=[column.formula] if column.formula is not None else [],
            target=None,
        )
        spelled = spelled_like(right[0], cell)
        text = column.texts[at]
        self._say(row, column, text, Verdict.WRONG, spelled, slip_of(case).value)

    def _say(
        self,
        row: Row,
        column: _Column,
        text: str,
        verdict: Verdict,
        right: str = "",
        kind: str = "",
    ) -> None:
        self._marks.steps.append(Step(row.line, verdict, text, right, kind, column.head))

    def _keep(self, columns: Sequence[_Column]) -> None:
        """Writes x_0, x_1, … down, where a column counts the rows."""
        count = next((column for column in columns if _is_count(column)), None)
        if count is None:
            return
        for column in columns:
            if not column.stem:
                continue
            for at, (number, cell) in enumerate(zip(count.cells, column.cells, strict=True)):
                if number is None or cell is None or not number.is_number:
                    continue
                key = f"{column.stem}_{int(number.digits.value) + column.is_next}"
                if self._ledger.find(key) is not None:
                    continue
                is_wrong = at in column.right and not _is_met(cell, column.right[at])
                shown = cell.band("value")
                true = column.right[at][0] if is_wrong else shown
                self._ledger.put(key, Quantity(shown=shown, true=true, is_wrong=is_wrong))


def _bare(text: str) -> str:
    """A cell without what sets it."""
    return re.sub(r"\$|`|\*\*", "", text).strip()


def _texts(row: Row) -> list[str]:
    return [_bare(cell.text) for cell in row.cells]


def _is_count(column: _Column) -> bool:
    """Whether a column counts its rows."""
    if not _COUNT.fullmatch(_bare(column.head)):
        return False
    values = [c.digits.value if c is not None and c.is_number else None for c in column.cells]
    first = values[0]
    return first in (0, 1) and values == [first + at for at in range(len(values))]


def _bands(cell: Display | None) -> list[Band]:
    """What a cell stands for: its number as written, and all that is rounded to it."""
    return [] if cell is None else [cell.band("value"), cell.band()]


def _is_met(cell: Display, right: Sequence[Band]) -> bool:
    return any(cell.is_rounding_of(band) for band in right)


def _is_trusted(column: _Column) -> bool:
    """Whether its numbers say that its head was understood."""
    met = [
        _is_met(cell, column.right[at])
        for at, cell in enumerate(column.cells)
        if cell is not None and at in column.right
    ]
    num_met = sum(met)
    num_wrong = len(met) - num_met
    needed = 1 if column.is_said else 2
    return num_met >= needed and (num_wrong <= 1 or num_wrong < num_met / 2)
