"""What goes wrong in a command becomes one sentence and an exit code."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.markup import escape

from thalweg._errors import ThalwegError

FAILED, INTERRUPTED = 2, 130
"""Exit codes: it could not be done; Ctrl-C."""


@contextmanager
def refusals(debug: bool, done: str) -> Iterator[None]:
    """What goes wrong becomes one sentence on stderr and exit code 2; a traceback if asked for.

    Args:
        debug: whether to show tracebacks.
        done: what could not be done where nobody foresaw why, such as "examine".
    """
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        if debug:
            traceback.print_exception(error)
        said = str(error) if isinstance(error, ThalwegError) else _unexpected(error, done)
        Console(stderr=True, soft_wrap=True).print(
            f"[bold red]thalweg:[/bold red] {escape(said)}", highlight=False
        )
        raise typer.Exit(FAILED) from error
    except KeyboardInterrupt as error:
        Console(stderr=True).print("thalweg: interrupted; nothing was written")
        raise typer.Exit(INTERRUPTED) from error


def _unexpected(error: Exception, done: str) -> str:
    first = (str(error).strip().splitlines() or ["no message"])[0]
    return (
        f"could not {done}: {type(error).__name__}: {first}; nobody foresaw this, so run again "
        f"with --debug and report the traceback"
    )
