"""thalweg escape: how each method behaves near a saddle."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import torch
import typer

from thalweg._errors import ThalwegError
from thalweg.cli._refusals import refusals
from thalweg.cli._running import (
    AsJson,
    Debug,
    Device,
    Out,
    Params,
    Seed,
    Target,
    answer,
    generator_of,
    problem_at,
    progress_bar,
)
from thalweg.critical import InterruptedEscape, escape
from thalweg.report import check_writable
from thalweg.surface import Surface


def escape_command(
    target: Target,
    distances: Annotated[
        str, typer.Option(help="Of the starts from the saddle, by commas.")
    ] = "1e-2,1e-3,1e-4,1e-5,1e-6,1e-7,1e-8",
    radius: Annotated[float, typer.Option(help="Out is farther away, at a lower loss.")] = 0.1,
    lr: Annotated[
        float | None,
        typer.Option(help="Of gradient descent.", show_default="half of 1/max|λ|"),
    ] = None,
    max_steps: Annotated[int, typer.Option(help="Of a run.")] = 1000,
    params: Params = None,
    out: Out = Path("escape.html"),
    seed: Seed = 0,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Start each method near a saddle: what a step does, and how long it takes to leave.

    Gradient descent, Newton, trust region, saddle-free Newton and cubic regularisation, beside
    theory. The saddle is where Newton's method leads from the parameters that the factory returns.

    Exit code 0: run. 2: could not be run. 130: interrupted; the finished runs are written.

    Example: thalweg escape thalweg.problems:strict_saddle --distances 1e-2,1e-8
    """
    with refusals(debug, "run near the saddle"):
        generator = generator_of(seed)
        check_writable(out)
        left = ""
        with progress_bar() as progress:
            progress("model and data", 0.0)
            problem = problem_at(target, device)
            point = Surface(problem, params or "*", dtype=torch.float64).here()
            try:
                found = escape(
                    point,
                    generator=generator,
                    distances=_numbers(distances),
                    radius=radius,
                    lr=lr,
                    max_steps=max_steps,
                    progress=progress,
                )
            except InterruptedEscape as interruption:
                found, left = interruption.found, "the finished runs are written"
        answer(found, out, as_json, left)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise ThalwegError(
            f"--distances {text!r} are no numbers; give them by commas: 1e-2,1e-5,1e-8"
        ) from error
