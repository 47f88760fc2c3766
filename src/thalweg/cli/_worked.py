"""thalweg worked: the forward and backward pass of a small computation, written out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from torch import Tensor, nn

from thalweg._errors import FormulaError, ProblemError, ThalwegError
from thalweg._problem import Problem
from thalweg._progress import Progress
from thalweg.cli._document import FormatOption, OutOption, format_of, read_text, write
from thalweg.cli._factory import value_from
from thalweg.cli._refusals import refusals
from thalweg.cli._running import AsJson, Debug, progress_bar
from thalweg.report import Page
from thalweg.sheet import WorkedPass, worked

MAX_BYTES = 200_000
"""Of a text; what is longer is no small computation."""

MAX_DIGITS = 17


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
        with progress_bar() as progress:
            sheet = _worked(source, loss, progress)
        write(_Shown(sheet, digits), chosen, out, page_name="worked.html")


@dataclass(frozen=True)
class _Shown:
    """A worked pass as a document, its numbers to so many digits."""

    sheet: WorkedPass
    digits: int

    def __str__(self) -> str:
        return str(self.sheet)

    def page(self) -> Page:
        return self.sheet.page(self.digits)

    def to_latex(self) -> str:
        return self.sheet.to_latex(self.digits)

    def to_markdown(self) -> str:
        return self.sheet.to_markdown(self.digits)

    def to_json(self) -> str:
        return self.sheet.to_json()


def _worked(source: str, loss: str | None, progress: Progress) -> WorkedPass:
    is_text = source == "-" or Path(source).is_file() or ":" not in source
    if is_text:
        text = read_text(
            source,
            max_bytes=MAX_BYTES,
            way_out="give a text file, - for standard input, or MODULE:FACTORY",
            too_long="give a small computation, a statement a line",
        )
        return worked(text, loss=loss, progress=progress)
    if loss is not None:
        raise ThalwegError(f"--loss {loss}: of a module it is what the factory returns")
    return _of_value(value_from(source), source, progress)


def _of_value(found: Any, source: str, progress: Progress) -> WorkedPass:
    if isinstance(found, str):
        return worked(found, progress=progress)
    if isinstance(found, Problem):
        batch = found.batches[0]
        if not (isinstance(batch, list | tuple) and len(batch) == 2):
            raise ProblemError(f"{source}: the data have to be (input, target)")
        return worked(found.model, batch[0], batch[1], found.loss, progress=progress)
    parts = tuple(found) if isinstance(found, list | tuple) else (found,)
    is_module = bool(parts) and isinstance(parts[0], nn.Module)
    if not is_module or not 2 <= len(parts) <= 4 or not isinstance(parts[1], Tensor):
        raise FormulaError(
            f"{source} returned {type(found).__name__}; it must return (module, input), "
            f"(module, input, target, loss) or a thalweg.Problem"
        )
    return worked(*parts, progress=progress)
