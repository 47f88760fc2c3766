"""thalweg check: a worked solution judged, the first wrong step named."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from thalweg._errors import ThalwegError
from thalweg.cli._document import read_text
from thalweg.cli._refusals import refusals
from thalweg.cli._running import AsJson, Debug
from thalweg.sheet import CheckedSolution, Verdict, check

MAX_BYTES = 4_000_000
"""Of a page."""

RIGHT, WRONG = 0, 1

_STYLES = {
    Verdict.WRONG: "bold red",
    Verdict.CARRIED: "yellow",
    Verdict.UNREAD: "dim",
}


def check_command(
    solution: Annotated[
        str, typer.Argument(metavar="SOLUTION.md", help="Markdown with LaTeX, or - for input.")
    ],
    problem: Annotated[
        Path | None,
        typer.Option(help="A text that defines the network, as `thalweg worked` takes it."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Where to write the page with verdicts.")
    ] = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Check a worked solution: every chain of equalities, the first wrong step and its likely slip.

    Exit code 0: nothing wrong. 1: something wrong. 2: the page could not be read.

    Example: thalweg check solution.md --problem net.txt --out checked.html
    """
    with refusals(debug, "check"):
        text = _read(solution)
        network = None if problem is None else _read(str(problem))
        checked = check(text, network, title=Path(solution).name)
        written = None if out is None else checked.page().save(out)
        if not checked.is_readable:
            raise ThalwegError(
                f"no step of {solution} could be read: {len(checked.steps)} were found; write "
                f"equalities such as $z = 4 \\cdot 1.5 = 6$, in LaTeX or plain text"
            )
        if as_json:
            sys.stdout.write(checked.to_json() + "\n")
        else:
            _show(checked, written)
    raise typer.Exit(RIGHT if checked.is_right else WRONG)


def _show(checked: CheckedSolution, written: Path | None) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for step in checked.steps:
        if step.verdict is Verdict.OK:
            continue
        said = f"line {step.line}: {step.verdict.value}: {step.claimed}"
        if step.right:
            said += f"; right is {step.right}"
        if step.kind:
            said += f" ({step.kind})"
        console.print(escape(said), style=_STYLES[step.verdict])
    console.print(escape(checked.total))
    if written is not None:
        console.print(f"The page: {written}")


def _read(source: str) -> str:
    return read_text(
        source,
        max_bytes=MAX_BYTES,
        way_out="give a text file, or - for input",
        too_long="give the solution alone, without data",
    )
