"""Terminal: the same page as text, for any width, with or without colour."""

from __future__ import annotations

from functools import singledispatchmethod

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table as Grid
from rich.text import Text as Words

from thalweg.report._blocks import Block, Code, Facts, Figure, Marked, Table, Text
from thalweg.report._numerals import spaced
from thalweg.report._page import Page, Section
from thalweg.report._spelling import spelled
from thalweg.report._tone import Tone

_STYLES = {Tone.GOOD: "green", Tone.BAD: "red", Tone.UNSURE: "yellow", Tone.PLAIN: "default"}
_MARKS = {Tone.GOOD: "✓", Tone.BAD: "✗", Tone.UNSURE: "?", Tone.PLAIN: "•"}
_WIDEST = 100
_INDENT = 2


def print_page(page: Page, console: Console) -> None:
    """Prints a page: the card with the verdict, then the open sections, without their figures.

    Args:
        page: what to show.
        console: where; rich leaves colours out where it is piped or NO_COLOR is set.

    Example:
        >>> page = Page("a line", "This network trains", Tone.GOOD)
        >>> print_page(page, Console(width=40))
        ╭─ a line ─────────────────────────────╮
        │ ✓ This network trains (good)         │
        ╰──────────────────────────────────────╯
    """
    printer = _Printer(console)
    printer.card(page)
    for section in page.sections:
        if not section.is_folded:
            printer.section(section)
    printer.ending(page)


class _Printer:
    """Prints in letters that the console has, no wider than can be read."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, _WIDEST)

    def card(self, page: Page) -> None:
        verdict = self._toned(page.verdict, page.tone)
        lead = [self._words(""), self._words(page.lead)] if page.lead else []
        self._show(
            Panel(
                Group(verdict, *lead),
                title=self._words(page.title, "default not bold"),
                title_align="left",
                border_style=_STYLES[page.tone],
                width=self._width,
            )
        )

    def section(self, section: Section) -> None:
        self._gap()
        self._show(self._toned(section.title, section.tone))
        if section.sentence:
            self._show(self._indented(self._words(section.sentence)))
        for block in section.blocks:
            self.block(block)

    def ending(self, page: Page) -> None:
        folded = [section.title for section in page.sections if section.is_folded]
        if folded:
            self._gap()
            self._show(self._words(f"On the page only: {'; '.join(folded)}.", "dim"))
        if page.footer:
            self._gap()
            self._show(self._words(page.footer, "dim"))

    @singledispatchmethod
    def block(self, block: Block) -> None:
        raise TypeError(f"a section holds blocks, not {type(block).__name__}")

    @block.register
    def _text(self, block: Text) -> None:
        for paragraph in block.paragraphs:
            self._gap()
            self._show(self._indented(self._words(paragraph)))

    @block.register
    def _facts(self, block: Facts) -> None:
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim", max_width=28)
        grid.add_column()
        # Rich makes room for an empty column by wrapping the one before it.
        has_notes = any(fact.note for fact in block.rows)
        for fact in block.rows:
            value = " ".join(part for part in (fact.value, fact.doubt) if part)
            note = [self._words(fact.note, "dim")] if has_notes else []
            grid.add_row(self._words(fact.label), self._words(value), *note)
        self._gap()
        self._show(self._indented(grid))

    @block.register
    def _table(self, block: Table) -> None:
        grid = Grid(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for name, is_numeric in zip(block.header, block.is_numeric, strict=True):
            grid.add_column(self._words(name), justify="right" if is_numeric else "left")
        for row in block.rows:
            grid.add_row(*map(self._words, row))
        self._caption(block.caption)
        is_narrow = self._console.measure(grid).minimum > self._width - _INDENT
        self._show(self._indented(self._stacked(block) if is_narrow else grid))

    def _stacked(self, block: Table) -> Grid:
        """Each row on lines of its own, cell by cell, where the columns find no room."""
        grid = Grid.grid(padding=(0, 2, 0, 0))
        grid.add_column(style="dim")
        grid.add_column()
        for number, row in enumerate(block.rows):
            if number:
                grid.add_row()
            for name, cell in zip(block.header, row, strict=True):
                grid.add_row(self._words(name), self._words(cell))
        return grid

    @block.register
    def _marked(self, block: Marked) -> None:
        self._caption(block.caption)
        for line in block.lines:
            self._show(self._indented(self._verbatim(f"{line.number:>4}  {line.text}")))
            for mark in line.marks:
                said = f"      {_MARKS[mark.tone]} {mark.word} {mark.text}".rstrip()
                self._show(self._indented(self._words(said, _STYLES[mark.tone])))

    @block.register
    def _code(self, block: Code) -> None:
        self._caption(block.caption)
        for text in block.text.rstrip().splitlines():
            # Lines to copy are never wrapped or cut.
            self._console.print(
                self._verbatim(f"    {text}".rstrip(), "cyan"),
                no_wrap=True,
                overflow="ignore",
                crop=False,
            )

    @block.register
    def _figure(self, block: Figure) -> None:
        """Nothing: a caption speaks of a picture, which only the page can show."""

    def _caption(self, caption: str) -> None:
        self._gap()
        if caption:
            self._show(self._indented(self._words(caption, "dim")))

    def _toned(self, text: str, tone: Tone) -> Words:
        mark = self._words(f"{_MARKS[tone]} {text}", f"bold {_STYLES[tone]}")
        return mark.append(f" ({tone.word})" if tone.word else "", "not bold")

    def _words(self, text: str, style: str = "") -> Words:
        return self._verbatim(spaced(text), style)

    def _verbatim(self, text: str, style: str = "") -> Words:
        return Words(spelled(text, self._console.encoding), style=style)

    def _indented(self, shown: RenderableType) -> Padding:
        return Padding(shown, (0, 0, 0, _INDENT), expand=False)

    def _gap(self) -> None:
        self._console.print()

    def _show(self, shown: RenderableType) -> None:
        self._console.print(shown, width=self._width, highlight=False)
