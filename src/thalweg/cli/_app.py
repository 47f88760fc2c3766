"""The commands of `thalweg`."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Annotated

import torch
import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import thalweg
from thalweg._errors import ThalwegError
from thalweg.cli._factory import problem_from
from thalweg.doctor import Budget, Examination, examine
from thalweg.report import check_writable, print_page

HEALTHY, FINDINGS, FAILED = 0, 1, 2
"""Exit codes: nothing found; something found; could not examine."""

app = typer.Typer(
    name="thalweg",
    help="Reads the loss surface under a neural network, and says why it does not train.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def main() -> None:
    """Runs the command line."""
    app()


def _show_version(is_asked: bool) -> bool:
    if is_asked:
        typer.echo(f"thalweg {thalweg.__version__}")
        raise typer.Exit
    return is_asked


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Reads the loss surface under a neural network, and says why it does not train."""


@app.command("examine")
def examine_command(
    target: Annotated[
        str,
        typer.Argument(
            metavar="MODULE:FACTORY",
            help="A function that returns a thalweg.Problem: package.module:factory, or "
            "path/file.py:factory.",
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Where the page is written.")] = Path(
        "report.html"
    ),
    budget: Annotated[
        str,
        typer.Option(help="What may be spent: seconds (60s, 2m) or gradients (5000g)."),
    ] = "60s",
    seed: Annotated[int, typer.Option(help="Everything random is drawn from it.")] = 0,
    device: Annotated[
        str | None, typer.Option(help="Where to compute: cpu, cuda, cuda:1, mps.")
    ] = None,
    params: Annotated[
        list[str] | None,
        typer.Option(help="Read the curvature of these parameters only (globs; repeatable)."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the examination as JSON, and nothing else.")
    ] = False,
    debug: Annotated[bool, typer.Option(help="Show tracebacks.")] = False,
) -> None:
    """Examine a network: what ails its training, with evidence, and a remedy that was tried.

    Exit code 0: nothing found. 1: findings. 2: could not examine.

    Example: thalweg examine thalweg.problems:deep_sigmoid_digits --budget 60s
    """
    with _refusals(debug):
        limit = Budget.parse(budget)
        check_writable(out)
        # What somebody's factory or model prints is no part of the answer on stdout.
        with redirect_stdout(sys.stderr), _progress(is_silent=as_json) as progress:
            problem = problem_from(target)
            if device is not None:
                problem = problem.to(device=_device(device))
            examination = examine(
                problem, params=params or "*", budget=limit, seed=seed, progress=progress
            )
        written = examination.save(out)
        _show(examination, written, as_json)
    raise typer.Exit(HEALTHY if examination.is_healthy else FINDINGS)


def _show(examination: Examination, written: Path, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(examination.to_json() + "\n")
        return
    console = Console()
    print_page(examination.page(), console)
    shown = f"\nThe page with its pictures: [bold]{escape(str(written))}[/bold]"
    console.print(shown, soft_wrap=True, highlight=False)


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
def _refusals(debug: bool) -> Iterator[None]:
    """What goes wrong becomes one sentence on stderr and exit code 2; a traceback if asked for."""
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        said = str(error) if isinstance(error, ThalwegError) else _unexpected(error)
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]thalweg:[/bold red] {escape(said)}", highlight=False
        )
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        Console(stderr=True).print("thalweg: interrupted; nothing was written")
        raise typer.Exit(130) from error


def _unexpected(error: Exception) -> str:
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return (
        f"could not examine: {type(error).__name__}: {first}; nobody foresaw this, so run again "
        f"with --debug and report the traceback"
    )


@contextmanager
def _progress(is_silent: bool) -> Iterator[thalweg.doctor.Progress]:
    """A bar on stderr with what is being done and the time left; nothing when piped."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"), BarColumn(bar_width=24), TimeElapsedColumn(),
        TextColumn("left"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(
        *columns, console=console, transient=True, disable=is_silent or not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=1.0)
        yield lambda stage, share: bar.update(task, description=stage, completed=share)
