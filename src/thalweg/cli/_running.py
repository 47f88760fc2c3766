"""What every command does around its one call: its options, the bar, the answer."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._progress import Progress
from thalweg.cli._factory import problem_from, problems_from
from thalweg.cli._refusals import INTERRUPTED
from thalweg.report import Page, PagedResult, print_page

Target = Annotated[
    str,
    typer.Argument(
        metavar="MODULE:FACTORY",
        help="A function that returns a thalweg.Problem: package.module:factory, or "
        "path/file.py:factory.",
    ),
]
Out = Annotated[Path, typer.Option("--out", "-o", help="Where the page is written.")]
Seed = Annotated[int, typer.Option(help="Everything random is drawn from it.")]
Device = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")]
Params = Annotated[
    list[str] | None,
    typer.Option(help="Read the curvature of these parameters only (globs; repeatable)."),
]
AsJson = Annotated[
    bool,
    typer.Option("--json/--no-json", help="Print the result as JSON, and nothing else."),
]
Debug = Annotated[bool, typer.Option(help="Show tracebacks.")]


MAX_SEED = 2**32 - 1
"""Every generator takes seeds up to here."""


def generator_of(seed: int) -> torch.Generator:
    """The generator of a seed.

    Raises:
        ThalwegError: if it is out of range.
    """
    if not 0 <= seed <= MAX_SEED:
        raise ThalwegError(f"seed={seed}; give a whole number from 0 to {MAX_SEED}")
    return torch.Generator().manual_seed(seed)


def problem_at(target: str, device: str | None) -> Problem:
    """The problem of a factory, on a device where one is named.

    Raises:
        ThalwegError: if there is no such factory, or no such device.
    """
    problem = problem_from(target)
    return problem if device is None else problem.to(device=_device(device))


def problems_at(target: str, device: str | None) -> Problem | Callable[[int], Problem]:
    """From a seed to the problem of a factory, on a device where one is named.

    Raises:
        ThalwegError: if there is no such factory, or no such device.
    """
    found = problems_from(target)
    if device is None:
        return found
    place = _device(device)
    if isinstance(found, Problem):
        return found.to(device=place)
    return lambda seed: found(seed).to(device=place)


def _device(name: str) -> torch.device:
    """The device of that name, tried out.

    Raises:
        ThalwegError: if there is none; lists what there is.
    """
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        there = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
        raise ThalwegError(
            f"device {name!r} cannot be used here; give one of {', '.join(there)}"
        ) from error
    return device


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A bar on stderr with what is being done and the time left; nothing when that is piped.

    What somebody's factory or model prints meanwhile goes to stderr: it is no part of the answer.
    """
    # Not console.is_terminal: that is true of a pipe, too, where FORCE_COLOR is set.
    if not sys.stderr.isatty():
        with redirect_stdout(sys.stderr):
            yield lambda stage, share: None
        return
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with (
        redirect_stdout(sys.stderr),
        Bar(*columns, console=console, transient=True) as bar,
    ):
        task = bar.add_task("", total=1.0)
        yield lambda stage, share: bar.update(task, description=stage, completed=share)


def answer(found: PagedResult, out: Path, as_json: bool, interrupted: str = "") -> None:
    """Writes the page, and prints the result as JSON, or as text and where the page is.

    Args:
        found: the result.
        out: where the page is written.
        as_json: whether it is JSON that is printed.
        interrupted: what there is of it, where Ctrl-C broke it off: then that is said, too.

    Raises:
        Exit: with 130, where it was interrupted.
    """
    written = found.save(out)
    if as_json:
        sys.stdout.write(found.to_json() + "\n")
    else:
        _show(found.page(), written)
    if interrupted:
        Console(stderr=True).print(f"thalweg: interrupted; {interrupted}")
        raise typer.Exit(INTERRUPTED)


def _show(page: Page, written: Path) -> None:
    """Prints a page as text, and where the one with pictures is."""
    console = Console()
    print_page(page, console)
    shown = f"\nThe page with its pictures: [bold]{escape(str(written))}[/bold]"
    console.print(shown, soft_wrap=True, highlight=False)
