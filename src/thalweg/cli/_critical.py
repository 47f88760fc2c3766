"""thalweg critical: critical points of any index."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

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
from thalweg.critical import (
    DampedNewton,
    GradientNormDescent,
    GradientTrustRegion,
    Initialisations,
    MergedUnits,
    NewtonMR,
    Solver,
    SymmetricDescent,
    Trajectories,
    check_resumable,
    find_critical,
)
from thalweg.report import check_writable


class Method(Enum):
    """Which solver walks."""

    AUTO = "auto"
    EQUAL_UNITS = "equal-units"
    TRUST_REGION = "trust-region"
    NEWTON_MR = "newton-mr"
    DAMPED_NEWTON = "damped-newton"
    GRADIENT_NORM = "gradient-norm"


_SOLVERS: dict[Method, Solver | None] = {
    Method.AUTO: None,
    Method.EQUAL_UNITS: SymmetricDescent(),
    Method.TRUST_REGION: GradientTrustRegion(),
    Method.NEWTON_MR: NewtonMR(),
    Method.DAMPED_NEWTON: DampedNewton(),
    Method.GRADIENT_NORM: GradientNormDescent(),
}


def critical_command(
    target: Target,
    out: Out = Path("critical.html"),
    num_starts: Annotated[int, typer.Option("--starts", help="How many walks.")] = 10,
    method: Annotated[
        Method,
        typer.Option(
            help="auto: equal-units where hidden units may change places, else trust-region; "
            "newton-mr, damped-newton, gradient-norm.",
            metavar="NAME",
        ),
    ] = Method.AUTO,
    weight_decay: Annotated[
        float,
        typer.Option(help="c of ½ c |parameters|² in the loss; 1e-4 keeps critical points finite."),
    ] = 0.0,
    steps: Annotated[int, typer.Option(help="Training steps that starts are drawn along.")] = 1000,
    noise: Annotated[
        float, typer.Option(help="Noise on every second start, as a share of the parameters.")
    ] = 0.05,
    is_random: Annotated[
        bool,
        typer.Option("--random-starts/--no-random-starts", help="Start at parameters drawn anew."),
    ] = False,
    tol: Annotated[float, typer.Option(help="|gradient|² that counts as zero.")] = 1e-20,
    max_gradients: Annotated[
        float, typer.Option("--max-gradients", help="What each walk may spend.")
    ] = 200_000,
    processes: Annotated[int, typer.Option(help="How many walk at once.")] = 1,
    params: Params = None,
    seed: Seed = 0,
    device: Device = None,
    as_json: AsJson = False,
    kept: Annotated[
        Path | None,
        typer.Option("--save", help="Keep every finished walk in this file: NAME.npz."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with the walks that this file keeps: NAME.npz.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Find critical points of any index, each with a certificate; flat regions are told apart.

    Exit code 0: searched. 2: could not be searched. 130: interrupted; what was finished is written.

    Example: thalweg critical thalweg.problems:linear_autoencoder --starts 20 --save walks.npz
    """
    with refusals(debug, "search for critical points"):
        generator = generator_of(seed)
        check_writable(out)
        file = _file(kept, resume)
        starts = Initialisations() if is_random else Trajectories(max_steps=steps, noise=noise)
        with progress_bar() as progress:
            progress("model and data", 0.0)
            found = find_critical(
                problem_at(target, device),
                num_starts,
                generator=generator,
                params=tuple(params) if params else "*",
                starts=MergedUnits(starts) if method is Method.EQUAL_UNITS else starts,
                solver=_SOLVERS[method],
                weight_decay=weight_decay,
                tol=tol,
                max_gradients=max_gradients,
                num_processes=processes,
                resume=file,
                progress=progress,
            )
        answer(found, out, as_json, "what was finished is written" if found.is_partial else "")


def _file(kept: Path | None, resume: Path | None) -> Path | None:
    """The one file that walks are kept in.

    Raises:
        ThalwegError: if two are named, one to go on with is missing, or one to begin is there.
    """
    if kept is not None and resume is not None and kept != resume:
        raise ThalwegError(
            f"--resume {resume} keeps what it goes on with; leave --save {kept} out, or copy the "
            f"file"
        )
    if resume is not None:
        if not check_resumable(resume).exists():
            raise ThalwegError(f"there is no {resume} to resume; begin one with --save {resume}")
        return resume
    if kept is not None and check_resumable(kept).exists():
        raise ThalwegError(
            f"{kept} keeps a search already; go on with it by --resume {kept}, or give another file"
        )
    return kept
