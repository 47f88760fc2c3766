"""The commands of `thalweg`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

import thalweg
from thalweg.cli._check import check_command
from thalweg.cli._compare import compare_command
from thalweg.cli._critical import critical_command
from thalweg.cli._derive import derive_command
from thalweg.cli._escape import escape_command
from thalweg.cli._flow import flow_command
from thalweg.cli._landscape import landscape_command
from thalweg.cli._running import (
    AsJson,
    Debug,
    Device,
    Out,
    Params,
    Seed,
    Target,
    problem_at,
    progress_bar,
    refusals,
    show,
)
from thalweg.cli._signal import signal_command
from thalweg.cli._spectrum import spectrum_command
from thalweg.cli._worked import worked_command
from thalweg.doctor import Budget, examine
from thalweg.report import check_writable

HEALTHY, FINDINGS = 0, 1
"""Exit codes of `examine`: nothing found; something found."""

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
    target: Target,
    out: Out = Path("report.html"),
    budget: Annotated[
        str,
        typer.Option(help="What may be spent: seconds (60s, 2m) or gradients (5000g)."),
    ] = "60s",
    seed: Seed = 0,
    device: Device = None,
    params: Params = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Examine a network: what ails its training, with evidence, and a remedy that was tried.

    Exit code 0: nothing found. 1: findings. 2: could not examine.

    Example: thalweg examine thalweg.problems:deep_sigmoid_digits --budget 60s
    """
    with refusals(debug, "examine"):
        limit = Budget.parse(budget)
        check_writable(out)
        with progress_bar(is_silent=as_json) as progress:
            problem = problem_at(target, device)
            examination = examine(
                problem, params=params or "*", budget=limit, seed=seed, progress=progress
            )
        written = examination.save(out)
        if as_json:
            sys.stdout.write(examination.to_json() + "\n")
        else:
            show(examination.page(), written)
    raise typer.Exit(HEALTHY if examination.is_healthy else FINDINGS)


app.command("spectrum")(spectrum_command)
app.command("signal")(signal_command)
app.command("critical")(critical_command)
app.command("escape")(escape_command)
app.command("landscape")(landscape_command)
app.command("compare")(compare_command)
app.command("flow")(flow_command)
app.command("worked")(worked_command)
app.command("derive")(derive_command)
app.command("check")(check_command)
