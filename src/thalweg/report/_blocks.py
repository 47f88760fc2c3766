"""Blocks: what a section of a page is made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

from thalweg._errors import ThalwegError
from thalweg.report._tone import Tone


@dataclass(frozen=True)
class Text:
    """Prose.

    Args:
        text: paragraphs divided by empty lines; `code` between backticks.
    """

    text: str

    @property
    def paragraphs(self) -> tuple[str, ...]:
        """The paragraphs, each on one line."""
        parts = re.split(r"\n\s*\n", self.text.strip())
        return tuple(" ".join(part.split()) for part in parts)


@dataclass(frozen=True)
class Fact:
    """One measured number, or one thing known.

    Args:
        label: what it is.
        value: the number with its unit.
        doubt: how surely, such as "± 0.3" or "[1.2, 1.4]"; "" where it is exact.
        note: one short remark.
    """

    label: str
    value: str
    doubt: str = ""
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Facts side by side.

    Args:
        rows: the facts.
    """

    rows: tuple[Fact, ...]


@dataclass(frozen=True)
class Table:
    """Cells in rows; columns of numbers stand right-aligned.

    Args:
        header: names of the columns, with units.
        rows: each as long as the header.
        caption: the sentence that says what to see.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""

    def __post_init__(self) -> None:
        if not all(name.strip() for name in self.header):
            raise ThalwegError(
                f"the table {self.caption!r} has a column without a name among "
                f"{', '.join(map(repr, self.header))}; say what stands in it"
            )
        for number, row in enumerate(self.rows, 1):
            if len(row) != len(self.header):
                raise ThalwegError(
                    f"row {number} of the table {self.caption!r} has {len(row)} cells under "
                    f"{len(self.header)} headings; give one cell for each heading"
                )

    @cached_property
    def is_numeric(self) -> tuple[bool, ...]:
        """For each column, whether all its cells that say something are numbers."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return tuple(_all_numbers(cells) for cells in columns)


@dataclass(frozen=True)
class Mark:
    """A remark on a line of somebody's text.

    Args:
        tone: good, bad, unsure, or plain.
        word: the verdict in a word or two.
        text: what else there is to say; mathematics in LaTeX between dollars.
    """

    tone: Tone
    word: str
    text: str = ""


@dataclass(frozen=True)
class Line:
    """A line of somebody's text.

    Args:
        number: counted from 1.
        text: as it stands there; mathematics in LaTeX between dollars.
        marks: the remarks on it.
    """

    number: int
    text: str
    marks: tuple[Mark, ...] = ()

    @property
    def tone(self) -> Tone:
        """The gravest of its marks."""
        tones = [mark.tone for mark in self.marks]
        order = (Tone.BAD, Tone.UNSURE, Tone.GOOD)
        return next((tone for tone in order if tone in tones), Tone.PLAIN)


@dataclass(frozen=True)
class Marked:
    """Somebody's text, line by line, with remarks beside it.

    Args:
        lines: in order.
        caption: the sentence that says what to see.
    """

    lines: tuple[Line, ...]
    caption: str = ""


@dataclass(frozen=True)
class Code:
    """Lines to copy.

    Args:
        text: the lines.
        caption: what they do.
    """

    text: str
    caption: str = ""


@dataclass(frozen=True)
class Figure:
    """A picture, as Plotly's own plain values.

    Colours are best named by `Ink`, and fonts, backgrounds and legends left alone: the page sets
    them so that they fit light and dark mode, print and phones. NaN and infinity are left out.
    Of a figure with one pair of axes the page shows both titles itself, so that they may be long.

    Args:
        data: traces.
        layout: axes and what else there is to say.
        caption: the sentence that says what to see.
        alt: the picture in words, for those who do not see it.
        height: in CSS pixels; without caption, legend and titles.
    """

    data: Sequence[dict[str, Any]]
    layout: dict[str, Any]
    caption: str
    alt: str
    height: int = 340

    def __post_init__(self) -> None:
        if not self.alt.strip():
            raise ThalwegError(
                f"Figure(caption={self.caption!r}) has no alt text; say in words what it shows"
            )


Block: TypeAlias = Text | Facts | Table | Marked | Code | Figure

_NUMBER = re.compile(r"[-+−±]?(\d[\d.,]*(e[-+]?\d+)?|∞|inf\b|nan\b)", re.IGNORECASE)
_BETWEEN = re.compile(r"[\s()\[\]/→…≤≥<>≈~±×·^%⁻⁰¹²³⁴-⁹+−–—-]+")
_UNIT = re.compile(r"[A-Za-zµ]{0,3}")


def _all_numbers(cells: Sequence[str]) -> bool:
    """Whether each cell is a number with its doubt and unit, or a dash; one at least a number."""
    has_number = [bool(_NUMBER.search(cell)) for cell in cells]
    rests = [_BETWEEN.sub("", _NUMBER.sub("", cell)) for cell in cells]
    return any(has_number) and all(_UNIT.fullmatch(rest) for rest in rests)
