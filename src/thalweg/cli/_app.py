"""The commands of `thalweg`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import thalweg
from thalweg.cli._check import check_command
from thalweg.cli._compare import compare_command
from thalweg.cli._configuration import Command, configurable
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
    answer,
    problem_at,
    progress_bar,
    refusals,
)
from thalweg.cli._schema import schema_command
from thalweg.cli._signal import signal_command
from thalweg.cli._spectrum import spectrum_command
from thalweg.cli._worked import worked_command
from thalweg.doctor import Budget, InterruptedExamination, examine
from thalweg.report import check_writable

HEALTHY, FINDINGS = 0, 1
"""Exit codes of `examine`: nothing found; something found."""

EPILOG = r"""
Exit codes. 0: done, and nothing is wrong. 1: something is: findings of examine, a wrong step of
check, a flow that did not get to its end. 2: it could not be done; stderr says in one sentence
what, where, and the way out. 130: interrupted; what was finished is written, and says that it is
partial.

Configuration. Options may stand in pyproject.toml, in the current folder or above it, or in a TOML
file that --config names: under \[tool.thalweg] those of every command that has them, under
\[tool.thalweg.examine] those of one. Keys are the options without dashes in front, such as
budget = "2m". What is typed wins. In a file of another name the tables are \[examine] and so on.

Answers go to stdout, everything else to stderr. NO_COLOR=1 takes the colours away; a pipe gets
neither colours nor progress. --json prints one document; thalweg schema COMMAND prints what it
looks like.

Example: thalweg examine thalweg.problems:deep_sigmoid_digits
"""

app = typer.Typer(
    name="thalweg",
    help="Reads the loss surface under a neural network, and says why it does not train.",
    epilog="\n\n".join(" ".join(part.splitlines()) for part in EPILOG.strip().split("\n\n")),
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

    Exit code 0: nothing found. 1: findings. 2: could not examine. 130: interrupted; findings, and
    remedies proved until then, are written.

    Example: thalweg examine thalweg.problems:deep_sigmoid_digits --budget 60s
    """
    with refusals(debug, "examine"):
        limit = Budget.parse(budget)
        check_writable(out)
        with progress_bar() as progress:
            problem, left = problem_at(target, device), ""
            try:
                examination = examine(
                    problem, params=params or "*", budget=limit, seed=seed, progress=progress
                )
            except InterruptedExamination as interruption:
                examination, left = interruption.found, "what was found is written"
        answer(examination, out, as_json, left)
    raise typer.Exit(HEALTHY if examination.is_healthy else FINDINGS)


COMMANDS: dict[str, Command] = {
    "examine": examine_command,
    "spectrum": spectrum_command,
    "signal": signal_command,
    "critical": critical_command,
    "escape": escape_command,
    "landscape": landscape_command,
    "compare": compare_command,
    "flow": flow_command,
    "worked": worked_command,
    "derive": derive_command,
    "check": check_command,
}
"""In the order of `thalweg --help`."""

for _name in COMMANDS:
    app.command(_name)(configurable(_name, COMMANDS))
app.command("schema")(schema_command)
