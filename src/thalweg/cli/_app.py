"""The commands of `thalweg`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
import typer.core
import typer.main

from thalweg._version import __version__
from thalweg.cli._commands import COMMANDS
from thalweg.cli._configuration import configurable

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

SCHEMA = "schema"
"""The command that is about the others, and not configurable."""


class Parsers(Mapping[str, Any]):
    """From a name to the parser of that command, built when it is asked for."""

    def __getitem__(self, name: str) -> Any:
        if name == SCHEMA:
            from thalweg.cli._schema import schema_command as command
        elif name in COMMANDS:
            command = configurable(name, COMMANDS)
        else:
            raise KeyError(name)
        one = typer.Typer(rich_markup_mode="rich", add_completion=False)
        one.command(name)(command)
        return typer.main.get_command(one)

    def __iter__(self) -> Iterator[str]:
        yield from (*COMMANDS, SCHEMA)

    def __len__(self) -> int:
        return len(COMMANDS) + 1


class LazyGroup(typer.core.TyperGroup):
    """The group of all commands, where each is loaded by itself: a room can take seconds."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands = Parsers()  # type: ignore[assignment]  # nobody adds to them

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002
        return list(self.commands)


app = typer.Typer(
    name="thalweg",
    cls=LazyGroup,
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
        typer.echo(f"thalweg {__version__}")
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
