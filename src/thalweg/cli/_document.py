"""What worked, derive and check share: a text that comes in, a document that goes out."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Protocol, runtime_checkable

import typer
from rich.console import Console

from thalweg._errors import ThalwegError
from thalweg._writing import check_writable, write_text
from thalweg.report import Page, print_page


class Format(Enum):
    """What is written."""

    TABLE = "table"
    LATEX = "latex"
    MARKDOWN = "markdown"
    HTML = "html"
    JSON = "json"


_BY_SUFFIX = {
    ".html": Format.HTML, ".htm": Format.HTML, ".tex": Format.LATEX, ".md": Format.MARKDOWN,
    ".json": Format.JSON,
}  # fmt: skip

FormatOption = Annotated[
    Format | None,
    typer.Option("--format", "-f", help="What to write.", show_default="table, or by --out"),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="Where to; .html, .tex, .md or .json say the format too."),
]


@runtime_checkable
class Document(Protocol):
    """What can be written in every format."""

    def page(self) -> Page:
        """As a page."""

    def to_latex(self) -> str:
        """As LaTeX."""

    def to_markdown(self) -> str:
        """As Markdown."""

    def to_json(self) -> str:
        """As JSON."""


def format_of(format_: Format | None, out: Path | None, as_json: bool) -> Format:
    """The format asked for, or that of the file's ending, which can be written there.

    Raises:
        ThalwegError: if JSON and another are asked for, or the file cannot be written.
    """
    if as_json and format_ not in (None, Format.JSON):
        raise ThalwegError(f"--json and --format {format_.value}; leave one of them out")
    if as_json:
        chosen = Format.JSON
    elif format_ is not None:
        chosen = format_
    else:
        chosen = Format.TABLE if out is None else _BY_SUFFIX.get(out.suffix.lower(), Format.TABLE)
    if chosen is not Format.HTML and out is not None:
        check_writable(out)
    return chosen


def write(document: Document, chosen: Format, out: Path | None, *, page_name: str) -> None:
    """Writes a document in a format to a file, or prints it where none is named.

    Args:
        document: what is written.
        chosen: see `format_of`.
        out: where to; standard output where left out.
        page_name: where a page is written where no file is named.
    """
    if chosen is Format.HTML:
        written = document.page().save(out or Path(page_name))
        Console().print(f"The page: {written}", highlight=False, soft_wrap=True)
    elif out is not None:
        written = write_text(_text(document, chosen), out)
        Console().print(f"Written: {written}", highlight=False, soft_wrap=True)
    elif chosen is Format.TABLE:
        print_page(document.page(), Console())
    else:
        sys.stdout.write(_text(document, chosen).rstrip("\n") + "\n")


def _text(document: Document, format_: Format) -> str:
    match format_:
        case Format.LATEX:
            return document.to_latex()
        case Format.MARKDOWN:
            return document.to_markdown()
        case Format.JSON:
            return document.to_json()
    return f"written by thalweg\n\n{document}"


def read_text(source: str, *, max_bytes: int, way_out: str, too_long: str) -> str:
    """The text of a file, or of standard input for "-".

    Args:
        source: a path, or "-".
        max_bytes: more are refused.
        way_out: what to give where the file is not there or cannot be read.
        too_long: what to give in the place of more.

    Raises:
        ThalwegError: if it is not there, too large, or no text.
    """
    name = "standard input" if source == "-" else source
    if source == "-":
        raw = sys.stdin.buffer.read(max_bytes + 1)
    else:
        path = Path(source)
        if not path.exists():
            raise ThalwegError(f"there is no file {source!r}; {way_out}")
        try:
            with path.open("rb") as file:
                raw = file.read(max_bytes + 1)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise ThalwegError(f"cannot read {source}: {reason}; {way_out}") from error
    if len(raw) > max_bytes:
        raise ThalwegError(f"{name} has more than {max_bytes:,} bytes; {too_long}")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ThalwegError(f"{name} is no text in UTF-8; save it as such") from error
