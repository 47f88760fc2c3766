"""thalweg worked: the forward and backward pass of a small computation, written out."""

from __future__ import annotations

import sys
from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from torch import Tensor, nn

from thalweg._errors import FormulaError, ProblemError, ThalwegError
from thalweg._problem import Problem
from thalweg._writing import check_writable, write_text
from thalweg.cli._factory import value_from
from thalweg.cli._running import AsJson, Debug, refusals
from thalweg.report import print_page
from thalweg.sheet import WorkedPass, worked

MAX_BYTES = 200_000
"""Of a text; what is longer is no small computation."""

MAX_DIGITS = 17


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
Digits = Annotated[int, typer.Option(help="Digits shown of each number.")]


def worked_command(
    source: Annotated[
        str,
        typer.Argument(
            metavar="NET.txt | MODULE:FACTORY",
            help="A text with a statement a line, - for standard input; or a function that returns "
            "(module, input, target, loss) or a thalweg.Problem.",
        ),
    ],
    format_: FormatOption = None,
    out: OutOption = None,
    digits: Digits = 8,
    loss: Annotated[
        str | None, typer.Option(help="The quantity to derive.", show_default="L, or the last line")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Work out a small network by hand: values, local derivatives and gradients side by side.

    Exit code 0: written. 2: could not be worked out.

    Example: echo "x = 2; w = 3; y = 1; L = 1/2 (w * x - y)^2" | thalweg worked -
    """
    with refusals(debug, "work it out"):
        if not 2 <= digits <= MAX_DIGITS:
            raise ThalwegError(f"--digits {digits}; give a whole number from 2 to {MAX_DIGITS}")
        chosen = format_of(format_, out, as_json)
        if chosen is not Format.HTML and out is not None:
            check_writable(out)
        sheet = _worked(source, loss)
        if chosen is Format.HTML:
            written = sheet.page(digits).save(out or Path("worked.html"))
            Console().print(f"The page: {written}", highlight=False, soft_wrap=True)
        elif out is not None:
            written = write_text(_text(sheet, chosen, digits), out)
            Console().print(f"Written: {written}", highlight=False, soft_wrap=True)
        elif chosen is Format.TABLE:
            print_page(sheet.page(digits), Console())
        else:
            sys.stdout.write(_text(sheet, chosen, digits).rstrip("\n") + "\n")


def format_of(format_: Format | None, out: Path | None, as_json: bool) -> Format:
    """The format asked for, or that of the file's ending.

    Raises:
        ThalwegError: if JSON and another are asked for.
    """
    if as_json:
        if format_ not in (None, Format.JSON):
            raise ThalwegError(f"--json and --format {format_.value}; leave one of them out")
        return Format.JSON
    if format_ is not None:
        return format_
    return Format.TABLE if out is None else _BY_SUFFIX.get(out.suffix.lower(), Format.TABLE)


def read_text(source: str) -> str:
    """The text of a file, or of standard input for "-".

    Raises:
        ThalwegError: if it is not there, too large, or no text.
    """
    if source == "-":
        raw, name = sys.stdin.buffer.read(MAX_BYTES + 1), "standard input"
    else:
        path, name = Path(source), source
        if not path.is_file():
            raise ThalwegError(
                f"there is no file {source!r}; give a text file, - for standard input, or "
                f"MODULE:FACTORY"
            )
        try:
            with path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise ThalwegError(f"cannot read {source}: {error.strerror}; check the file") from error
    if len(raw) > MAX_BYTES:
        raise ThalwegError(
            f"{name} has more than {MAX_BYTES:,} bytes; give a small computation, a statement a "
            f"line"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ThalwegError(f"{name} is no text in UTF-8; save it as such") from error


def _worked(source: str, loss: str | None) -> WorkedPass:
    is_text = source == "-" or Path(source).is_file() or ":" not in source
    if is_text:
        return worked(read_text(source), loss=loss)
    if loss is not None:
        raise ThalwegError(f"--loss {loss}: of a module it is what the factory returns")
    return _of_value(value_from(source), source)


def _of_value(found: Any, source: str) -> WorkedPass:
    if isinstance(found, str):
        return worked(found)
    if isinstance(found, Problem):
        batch = found.batches[0]
        if not (isinstance(batch, list | tuple) and len(batch) == 2):
            raise ProblemError(f"{source}: the data have to be (input, target)")
        return worked(found.model, batch[0], batch[1], found.loss)
    parts = tuple(found) if isinstance(found, list | tuple) else (found,)
    is_module = bool(parts) and isinstance(parts[0], nn.Module)
    if not is_module or not 2 <= len(parts) <= 4 or not isinstance(parts[1], Tensor):
        raise FormulaError(
            f"{source} returned {type(found).__name__}; it must return (module, input), "
            f"(module, input, target, loss) or a thalweg.Problem"
        )
    return worked(*parts)


def _text(sheet: WorkedPass, format_: Format, digits: int) -> str:
    match format_:
        case Format.LATEX:
            return sheet.to_latex(digits)
        case Format.MARKDOWN:
            return sheet.to_markdown(digits)
        case Format.JSON:
            return sheet.to_json()
    return f"written by thalweg\n\n{sheet}"
