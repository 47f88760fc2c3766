"""thalweg spectrum: the eigenvalues of a curvature matrix."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Annotated

import torch
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
    generator_of,
    problem_at,
    progress_bar,
)
from thalweg.curvature import InterruptedSpectrum, spectrum
from thalweg.linalg import SymmetricOperator, check_savable, save
from thalweg.report import check_writable
from thalweg.surface import Point, Surface


class Matrix(Enum):
    """Which matrix is read."""

    HESSIAN = "hessian"
    GGN = "ggn"
    FISHER = "fisher"
    EMPIRICAL_FISHER = "empirical-fisher"


class Dtype(Enum):
    """What products are computed in."""

    FLOAT32 = "float32"
    FLOAT64 = "float64"


_OPERATORS: dict[Matrix, Callable[[Point], SymmetricOperator]] = {
    Matrix.HESSIAN: Point.hessian,
    Matrix.GGN: Point.ggn,
    Matrix.FISHER: Point.fisher,
    Matrix.EMPIRICAL_FISHER: Point.empirical_fisher,
}
_DTYPES = {Dtype.FLOAT32: torch.float32, Dtype.FLOAT64: torch.float64}


def spectrum_command(
    target: Target,
    out: Out = Path("spectrum.html"),
    matrix: Annotated[
        Matrix, typer.Option(help="hessian, ggn, fisher or empirical-fisher.", metavar="NAME")
    ] = Matrix.HESSIAN,
    params: Params = None,
    top: Annotated[
        int | None,
        typer.Option(
            help="How many eigenpairs at either end; 5, or all of fewer.", show_default=False
        ),
    ] = None,
    seed: Seed = 0,
    device: Device = None,
    dtype: Annotated[
        Dtype | None, typer.Option(help="Compute in copies of this dtype.", show_default="its own")
    ] = None,
    as_json: AsJson = False,
    kept: Annotated[
        Path | None,
        typer.Option("--save", help="Keep the eigenpairs: NAME.safetensors or NAME.npz."),
    ] = None,
    debug: Debug = False,
) -> None:
    """Read the spectrum of a curvature matrix: its ends, counts, density, trace, and cost.

    Exit code 0: read. 2: could not be read. 130: interrupted; the ends of the spectrum and what
    else was found are written.

    Example: thalweg spectrum thalweg.problems:deep_sigmoid_digits --matrix ggn --top 10
    """
    with refusals(debug, "read the spectrum"):
        generator = generator_of(seed)
        check_writable(out)
        if kept is not None:
            check_savable(kept)
        with progress_bar() as progress:
            progress("model and data", 0.0)
            chosen = None if dtype is None else _DTYPES[dtype]
            point = Surface(problem_at(target, device), params or "*", dtype=chosen).here()
            operator, left = _OPERATORS[matrix](point), ""
            try:
                found = spectrum(point, operator, generator=generator, k=top, progress=progress)
            except InterruptedSpectrum as interruption:
                found, left = interruption.found, "what was found is written"
        if kept is not None:
            save(found.extremes, kept)
        answer(found, out, as_json, left)
