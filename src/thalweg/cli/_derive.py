"""thalweg derive: gradient, Hessian, Taylor polynomial and Newton step of a formula."""

from __future__ import annotations

from typing import Annotated

import typer

from thalweg._errors import FormulaError
from thalweg.cli._document import FormatOption, OutOption, format_of, write
from thalweg.cli._refusals import refusals
from thalweg.cli._running import AsJson, Debug, progress_bar
from thalweg.symbolic import derive


def derive_command(
    formula: Annotated[
        str,
        typer.Argument(
            metavar='"FORMULA"',
            help="Such as '(x-1)(x-3)', '||w||^2', '1/2 w^T A w', 'E[g(w^T z)]'.",
        ),
    ],
    wrt: Annotated[
        str | None,
        typer.Option(help="Towards what: x, or x,y.", show_default="all numbers, or the vector"),
    ] = None,
    at: Annotated[
        list[str] | None,
        typer.Option(help="A value: x=4, w=[1,2], A=[[1,2],[3,4]] (repeatable)."),
    ] = None,
    order: Annotated[int, typer.Option(help="Of the Taylor polynomial.")] = 2,
    symmetric: Annotated[
        list[str] | None, typer.Option(help="A matrix that is symmetric (repeatable).")
    ] = None,
    format_: FormatOption = None,
    out: OutOption = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Derive a formula, with the rules, each result compared with autograd.

    Exit code 0: derived. 2: could not be derived.

    Example: thalweg derive "(x-1)(x-3)" --at x=4
    """
    with refusals(debug, "derive it"):
        chosen = format_of(format_, out, as_json)
        values = dict(_named(value) for value in at or ())
        with progress_bar() as progress:
            found = derive(
                formula,
                wrt,
                at=values,
                order=order,
                symmetric=tuple(symmetric or ()),
                progress=progress,
            )
        write(found, chosen, out, page_name="derivation.html")


def _named(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip() or not value.strip():
        raise FormulaError(f"--at {text}: write name=value, such as --at x=4 or --at w=[1,2]")
    return name.strip(), value.strip()
