"""thalweg compare: optimizers on one problem at equal budget."""

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
    problems_at,
    progress_bar,
)
from thalweg.race import SHELF, Budget, InterruptedComparison, compare
from thalweg.report import check_writable


def _show_names(is_asked: bool) -> bool:
    if is_asked:
        for name, contender in SHELF.items():
            missing = f" ({contender.missing})" if contender.missing else ""
            typer.echo(f"{name}: {contender.said}{missing}")
        raise typer.Exit
    return is_asked


def compare_command(
    target: Target,
    optimizers: Annotated[
        str, typer.Option(help="Names, by commas; --list shows them.")
    ] = "adam,sgd,lbfgs",
    budget: Annotated[
        str,
        typer.Option(help="Of every single run: seconds (30s, 2m) or gradients (2000g)."),
    ] = "10s",
    seeds: Annotated[int, typer.Option(help="Runs of each optimizer that count.")] = 3,
    trials: Annotated[int, typer.Option(help="Settings tried of each, at the same budget.")] = 5,
    goal: Annotated[
        float | None,
        typer.Option("--target", help="A training loss to reach; else the final loss decides."),
    ] = None,
    batch_size: Annotated[
        int | None,
        typer.Option(help="Samples a step; the problem's own, or all, where left out."),
    ] = None,
    out: Out = Path("compare.html"),
    seed: Seed = 0,
    device: Device = None,
    as_json: AsJson = False,
    names: Annotated[
        bool,
        typer.Option("--list", callback=_show_names, is_eager=True, help="Show all optimizers."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Compare optimizers on a network: same budget, same trials, several seeds, held-out data.

    A factory that takes a seed, or draws its network at random, starts at another initialisation
    for each seed. The whole takes (trials + seeds) times the budget for each optimizer.

    Exit code 0: compared. 2: could not compare. 130: interrupted; what was finished is written.

    Example: thalweg compare thalweg.problems:relu_digits --optimizers adam,soap --budget 2000g
    """
    assert not names
    with refusals(debug, "compare"):
        limit = Budget.parse(budget)
        check_writable(out)
        left = ""
        with progress_bar() as progress:
            try:
                comparison = compare(
                    problems_at(target, device),
                    optimizers.split(","),
                    budget=limit,
                    seeds=seeds,
                    trials=trials,
                    batch_size=batch_size,
                    target=goal,
                    seed=seed,
                    progress=progress,
                )
            except InterruptedComparison as interruption:
                comparison, left = interruption.found, "what was finished is written"
        answer(comparison, out, as_json, left)
