"""thalweg examine: what ails a training, and a remedy that was tried."""

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
    Params,
    Seed,
    Target,
    answer,
    problem_at,
    progress_bar,
)
from thalweg.doctor import Budget, InterruptedExamination, examine
from thalweg.report import check_writable

HEALTHY, FINDINGS = 0, 1
"""Exit codes: nothing found; something found."""


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
