"""Page: what is shown, independent of where."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from io import StringIO
from os import PathLike
from pathlib import Path

from rich.console import Console

from thalweg.report._blocks import Block
from thalweg.report._tone import Tone


@dataclass(frozen=True)
class Section:
    """A part of a page with its own heading.

    Args:
        title: a few words.
        sentence: what the section says, in one sentence.
        blocks: the evidence.
        tone: good or bad news.
        is_folded: closed until asked for, in a terminal only named.
    """

    title: str
    sentence: str
    blocks: tuple[Block, ...] = ()
    tone: Tone = Tone.PLAIN
    is_folded: bool = False


@dataclass(frozen=True)
class Page:
    """What a command has to say: the verdict first, then the evidence.

    Args:
        title: what was looked at.
        verdict: the answer, one short sentence, shown first and large.
        tone: of the verdict.
        lead: one or two sentences below it.
        sections: the evidence.
        footer: version, seed and machine.

    Example:
        >>> page = Page("a line", "This network trains", Tone.GOOD, "Nothing is wrong with it.")
        >>> page.html().startswith("<!doctype html>")
        True
    """

    title: str
    verdict: str
    tone: Tone
    lead: str = ""
    sections: tuple[Section, ...] = ()
    footer: str = ""

    # The renderers stand above the description and read it, so they are imported when asked for.

    def html(self) -> str:
        """The page as one HTML file that needs nothing from the network."""
        from thalweg.report._html import render

        return render(self)

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes the HTML file, whole or not at all.

        Args:
            path: where; a file that is there already is replaced if thalweg wrote it.

        Returns:
            The file written.

        Raises:
            ThalwegError: if it cannot be written there, or another program's file is there.
        """
        from thalweg.report._save import save_html

        return save_html(self.html(), path)

    def print(self, console: Console | None = None) -> None:
        """Prints the page as text.

        Args:
            console: where to; standard output where none is given.
        """
        from thalweg.report._terminal import print_page

        print_page(self, console or Console(force_jupyter=False))

    def text(self, width: int = 100) -> str:
        """The page as plain text.

        Args:
            width: of a line, in letters.
        """
        file = StringIO()
        # In a notebook a console would show what is meant for the file, or colour it.
        console = Console(
            file=file, width=width, no_color=True, force_jupyter=False, force_terminal=False
        )
        self.print(console)
        return file.getvalue()

    def frame(self) -> str:
        """The page in a frame of its own, for a notebook."""
        page = escape(self.html(), quote=True)
        return f'<iframe srcdoc="{page}" style="width:100%;height:40em;border:0"></iframe>'
