"""thalweg signal: how scale and gradient run through a network, beside what theory predicts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from thalweg.cli._refusals import refusals
from thalweg.cli._running import (
    AsJson,
    Debug,
    Device,
    Out,
    Seed,
    Target,
    answer,
    generator_of,
    problem_at,
    progress_bar,
)
from thalweg.report import check_writable
from thalweg.signal import InterruptedPropagation, propagation


def signal_command(
    target: Target,
    out: Out = Path("signal.html"),
    sample: Annotated[
        int, typer.Option(help="Which sample of the data the Jacobians are taken at.")
    ] = 0,
    top: Annotated[int, typer.Option(help="How many singular values at either end.")] = 3,
    seed: Seed = 0,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Read how scale and gradient run through the layers, beside mean-field theory.

    Exit code 0: read. 2: could not be read. 130: interrupted; what was read by then is written.

    Example: thalweg signal thalweg.problems:vanishing_tanh_digits
    """
    with refusals(debug, "read the signal"):
        generator = generator_of(seed)
        check_writable(out)
        with progress_bar() as progress:
            progress("model and data", 0.0)
            problem, left = problem_at(target, device), ""
            try:
                found = propagation(
                    problem, generator=generator, sample=sample, k=top, progress=progress
                )
            except InterruptedPropagation as interruption:
                found, left = interruption.found, "what was read is written"
        answer(found, out, as_json, left)
