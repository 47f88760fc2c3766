"""thalweg flow: gradient flow from where a network is."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
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
from thalweg.gradient_flow import (
    ExactQuadratic,
    ExponentialAdams,
    ExponentialRosenbrock,
    GradientBelow,
    Integrator,
    InterruptedFlow,
    RungeKutta4,
    RungeKuttaChebyshev,
    SharpnessCrosses,
    Torchdiffeq,
    adam,
    flow,
    gradient_descent,
    momentum,
)
from thalweg.report import check_writable

UNFINISHED = 1
"""Exit code: the flow did not get to its end."""


class Method(Enum):
    """Which integrator."""

    ADAMS = "exponential-adams"
    ROSENBROCK = "exponential-rosenbrock"
    CHEBYSHEV = "chebyshev"
    EXACT = "exact"
    RK4 = "rk4"
    DOPRI5 = "dopri5"


_METHODS: dict[Method, Callable[[float], Integrator]] = {
    Method.ADAMS: ExponentialAdams,
    Method.ROSENBROCK: ExponentialRosenbrock,
    Method.CHEBYSHEV: RungeKuttaChebyshev,
    Method.EXACT: ExactQuadratic,
    Method.RK4: lambda _: RungeKutta4(),
    Method.DOPRI5: lambda tol: Torchdiffeq("dopri5", tol),
}


def flow_command(
    target: Target,
    time: Annotated[
        float, typer.Option(help="Flow time: k steps of descent with a small lr stand for k·lr.")
    ] = 10.0,
    method: Annotated[
        Method,
        typer.Option(help=", ".join(m.value for m in Method), metavar="NAME"),
    ] = Method.ADAMS,
    tol: Annotated[float, typer.Option(help="Local error, as a share of ‖θ‖.")] = 1e-8,
    gradient_below: Annotated[
        float | None, typer.Option(help="End where the gradient's norm falls to this.")
    ] = None,
    lr: Annotated[
        float | None,
        typer.Option(help="Draw gradient descent and momentum over it, and the limit 2/lr."),
    ] = None,
    adam_lr: Annotated[
        float | None, typer.Option("--adam", help="Draw Adam with this learning rate over it.")
    ] = None,
    max_gradients: Annotated[
        float | None, typer.Option(help="The most gradients the integrator may spend.")
    ] = None,
    out: Out = Path("flow.html"),
    seed: Seed = 0,
    device: Device = None,
    params: Params = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Follow gradient flow from where the network is, in float64, with the energy identity.

    Exit code 0: followed to the end. 1: not to the end; says why. 2: could not be followed. 130:
    interrupted; the flow up to there is written.

    Example: thalweg flow thalweg.problems:stiff_regression --time 10 --lr 0.05
    """
    with refusals(debug, "follow the flow"):
        integrator = _METHODS[method](tol)
        events = [
            *([] if gradient_below is None else [GradientBelow(gradient_below)]),
            *([] if lr is None else [SharpnessCrosses(lr)]),
        ]
        drawn = [
            *([] if lr is None else [gradient_descent(lr), momentum(0.1 * lr)]),
            *([] if adam_lr is None else [adam(adam_lr)]),
        ]
        check_writable(out)
        left = ""
        with progress_bar() as progress:
            progress("model and data", 0.0)
            try:
                found = flow(
                    problem_at(target, device),
                    time,
                    integrator,
                    events=events,
                    discrete=drawn,
                    params=params or "*",
                    max_gradients=float("inf") if max_gradients is None else max_gradients,
                    seed=seed,
                    progress=progress,
                )
            except InterruptedFlow as interruption:
                found, left = interruption.found, "the flow up to there is written"
        answer(found, out, as_json, left)
    raise typer.Exit(0 if found.is_finished else UNFINISHED)
