"""thalweg landscape: the loss around a point, as pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from pathlib import Path as FilePath
from typing import Annotated, Any

import torch
import typer

from thalweg import optim
from thalweg._errors import ThalwegError
from thalweg._problem import OptimizerFactory, Problem
from thalweg._progress import Progress
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
from thalweg.pictures import (
    BottomEigenvectors,
    Direction,
    FilterNormalised,
    Gradient,
    InterruptedLandscape,
    Path,
    Principal,
    TopEigenvectors,
    landscape,
    record_path,
)
from thalweg.report import check_writable
from thalweg.surface import Surface


class Axis(Enum):
    """A direction by name."""

    TOP = "top"
    BOTTOM = "bottom"
    GRADIENT = "gradient"
    RANDOM = "random"
    PATH = "path"


_OPTIMIZERS: dict[str, Callable[..., Any]] = {
    "sgd": torch.optim.SGD,
    "momentum": partial(torch.optim.SGD, momentum=0.9),
    "adam": torch.optim.Adam,
    "newton": optim.Newton,
    "trust-region": optim.TrustRegion,
    "cubic": optim.CubicRegularisation,
    "saddle-free": optim.SaddleFreeNewton,
    "newton-cg": optim.NewtonCG,
}
"""By name; each takes parameters and a learning rate."""

_RATES = {"sgd": 0.1, "momentum": 0.01, "adam": 1e-2}
"""Of those without a usual one."""


def landscape_command(
    target: Target,
    along: Annotated[
        list[Axis] | None,
        typer.Option(
            help="An axis: top, bottom (Hessian eigenvectors), gradient, random "
            "(filter-normalised), path (its principal components); up to three, repeated.",
            metavar="NAME",
        ),
    ] = None,
    train: Annotated[
        int, typer.Option(help="Train a copy for so many steps, and lay its path over it.")
    ] = 0,
    optimizer: Annotated[
        list[str] | None,
        typer.Option(
            help=f"What trains: NAME or NAME:LR, repeated for several paths; "
            f"{', '.join(_OPTIMIZERS)}. The problem's own where left out.",
            metavar="NAME",
        ),
    ] = None,
    cells: Annotated[
        int | None, typer.Option(help="Along each axis.", show_default="121, 41 or 17")
    ] = None,
    limit: Annotated[
        float | None,
        typer.Option(help="Half the width of the picture.", show_default="by path or loss"),
    ] = None,
    samples: Annotated[
        int | None, typer.Option(help="Read a random part of the data.", show_default="all")
    ] = None,
    params: Params = None,
    out: Out = FilePath("landscape.html"),
    seed: Seed = 0,
    device: Device = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Draw the loss around a point along chosen directions, with paths of training over it.

    With --train the picture stands where the first path ends, along its principal components;
    without, at the parameters that the factory returns, along the two sharpest directions.

    Exit code 0: drawn. 2: could not be drawn. 130: interrupted; the cells read by then are written.

    Example: thalweg landscape thalweg.problems:two_spirals --train 300 --optimizer adam
    --optimizer sgd:0.3
    """
    with refusals(debug, "draw the landscape"):
        generator = generator_of(seed)
        check_writable(out)
        left = ""
        with progress_bar() as progress:
            progress("model and data", 0.0)
            problem = problem_at(target, device)
            paths = _paths(problem, optimizer, train, seed, progress)
            surface = Surface(problem, params or "*")
            point = surface.at(paths[0].end) if paths else surface.here()
            try:
                seen = landscape(
                    point,
                    _directions(along, paths),
                    generator=generator,
                    paths=paths,
                    limits=limit,
                    num_cells=cells,
                    num_samples=samples,
                    progress=progress,
                )
            except InterruptedLandscape as interruption:
                seen, left = interruption.found, "the cells read by then are written"
        answer(seen, out, as_json, left)


def _paths(
    problem: Problem, names: Sequence[str] | None, steps: int, seed: int, progress: Progress
) -> tuple[Path, ...]:
    if steps < 0:
        raise ThalwegError(f"--train {steps}; give a number of steps, or leave it out")
    if names and not steps:
        raise ThalwegError(
            f"--optimizer {names[0]} trains nothing without --train; add --train 200"
        )
    if not steps:
        return ()
    if not names:
        return (record_path(problem, num_steps=steps, seed=seed, progress=progress),)
    return tuple(
        record_path(
            problem, _optimizer(name), num_steps=steps, seed=seed, name=name, progress=progress
        )
        for name in names
    )


def _optimizer(text: str) -> OptimizerFactory:
    name, _, rate = text.partition(":")
    if name not in _OPTIMIZERS:
        raise ThalwegError(
            f"--optimizer {text}: there is no {name!r}; give one of {', '.join(_OPTIMIZERS)}"
        )
    try:
        lr = float(rate) if rate else _RATES.get(name, 1.0)
    except ValueError:
        lr = -1.0
    if not lr > 0:
        raise ThalwegError(
            f"--optimizer {text}: {rate!r} is no learning rate; give one such as {name}:0.1"
        )
    return lambda params: _OPTIMIZERS[name](params, lr=lr)


def _directions(along: Sequence[Axis] | None, paths: Sequence[Path]) -> list[Direction] | None:
    """Names in their order; the same name again is the next one of its kind."""
    if not along:
        return None
    if Axis.PATH in along and not paths:
        raise ThalwegError("--along path has no path to go by; add --train 200")
    count = {axis: along.count(axis) for axis in along}
    made: dict[Axis, Callable[[int], Direction]] = {
        Axis.TOP: TopEigenvectors,
        Axis.BOTTOM: BottomEigenvectors,
        Axis.GRADIENT: lambda k: Gradient(),
        Axis.RANDOM: FilterNormalised,
        Axis.PATH: lambda k: Principal(tuple(paths), k),
    }
    if sum(count.values()) > 3 or count.get(Axis.GRADIENT, 0) > 1:
        raise ThalwegError(
            f"--along {' '.join(a.value for a in along)}: a picture has up to three axes, and the "
            f"gradient is one; leave some out"
        )
    return [made[axis](k) for axis, k in count.items()]
