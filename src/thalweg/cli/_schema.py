"""thalweg schema: what the JSON of a command looks like."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from thalweg._errors import ThalwegError
from thalweg.cli._refusals import refusals
from thalweg.cli._running import Debug
from thalweg.critical import CriticalSearch, Escape
from thalweg.curvature import Spectrum
from thalweg.doctor import Examination
from thalweg.gradient_flow import Flow
from thalweg.pictures import Landscape
from thalweg.race import Comparison
from thalweg.report import PagedResult
from thalweg.sheet import CheckedSolution, WorkedPass
from thalweg.signal import Propagation
from thalweg.symbolic import Derivation

RESULTS: dict[str, type[PagedResult]] = {
    "examine": Examination,
    "spectrum": Spectrum,
    "signal": Propagation,
    "critical": CriticalSearch,
    "escape": Escape,
    "landscape": Landscape,
    "compare": Comparison,
    "flow": Flow,
    "worked": WorkedPass,
    "derive": Derivation,
    "check": CheckedSolution,
}
"""What each command answers with."""


def schema_command(
    command: Annotated[
        str,
        typer.Argument(
            metavar="COMMAND",
            help=f"One of {', '.join(RESULTS)}.",
            autocompletion=lambda: list(RESULTS),
        ),
    ],
    debug: Debug = False,
) -> None:
    """Print the JSON schema, draft 2020-12, of what a command prints with --json.

    Exit code 0: printed. 2: there is no such command.

    Example: thalweg schema examine
    """
    with refusals(debug, "print the schema"):
        sys.stdout.write(schema_text(command))


def schema_text(command: str) -> str:
    """The schema of a command as indented JSON; also a file in `thalweg/schemas/`.

    Raises:
        ThalwegError: if there is no such command.
    """
    if command not in RESULTS:
        raise ThalwegError(f"{command!r} is no command with JSON; give one of {', '.join(RESULTS)}")
    schema = RESULTS[command].json_schema()
    return json.dumps(schema, ensure_ascii=False, indent=2) + "\n"
