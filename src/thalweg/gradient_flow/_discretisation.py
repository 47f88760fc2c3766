"""Methods with a step, drawn over the flow that they imitate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import NonFiniteError, ThalwegError
from thalweg.gradient_flow._field import Field, Place
from thalweg.gradient_flow._path import Path
from thalweg.optim import adam_step, gradient_descent_step, heavy_ball_step

Memory = dict[str, Any]
"""What a method remembers between steps."""

StepFunction = Callable[[Float[Tensor, " n"], Memory], tuple[Float[Tensor, " n"], Memory]]
"""From a gradient and what is remembered to the step and what is remembered then."""

MOST_COMPARED = 200


@dataclass(frozen=True)
class Discretisation:
    """A method with a step.

    Args:
        said: in words.
        step: from a gradient and a memory to a step and a memory.
        pace: flow time a step [param²/loss]; None where it is as long as the flow would take to go
            as far down the gradient of now, ‖Δθ‖/‖∇L‖.
        limit: the curvature at which it is unstable; None where it is not of the plain Hessian.
    """

    said: str
    step: StepFunction
    pace: float | None
    limit: float | None


@dataclass(frozen=True)
class DiscretePath:
    """Where a method with a step went, in flow time.

    Args:
        said: the method in words.
        times: of its steps [param²/loss].
        values: L there [loss].
        compared: times at which it was compared with the flow.
        distances: ‖θ_k − θ(t_k)‖ there [param].
        limit: the curvature at which the method is unstable, if known.
        ending: why it went no further; "" where it got as far as the flow.
    """

    said: str
    times: tuple[float, ...]
    values: tuple[float, ...]
    compared: tuple[float, ...]
    distances: tuple[float, ...]
    limit: float | None
    ending: str


def gradient_descent(lr: float) -> Discretisation:
    """θ_{k+1} = θ_k − lr ∇L: Euler's method; step k is at time k·lr.

    Args:
        lr: the learning rate [param²/loss].

    Example:
        >>> gradient_descent(0.1).limit
        20.0

    Source: as `thalweg.optim.GradientDescent`.
    """
    _check(lr)
    return Discretisation(
        f"gradient descent, lr {lr:g}",
        lambda gradient, memory: (gradient_descent_step(gradient, lr), memory),
        lr,
        2 / lr,
    )


def momentum(lr: float, beta: float = 0.9) -> Discretisation:
    """Heavy ball: v ← βv + ∇L, θ ← θ − lr v; step k is at time k·lr/(1 − β).

    Args:
        lr: the learning rate [param²/loss].
        beta: β, 0 ≤ β < 1.

    Example:
        >>> round(momentum(0.1, 0.5).pace, 6)
        0.2

    Source: as `thalweg.optim.HeavyBall`.
    """
    _check(lr)
    if not 0 <= beta < 1:
        raise ThalwegError(f"momentum(beta={beta}); give a number from 0 to below 1")

    def step(gradient: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        velocity = memory.get("velocity", torch.zeros_like(gradient))
        moved, velocity = heavy_ball_step(gradient, velocity, lr, beta)
        return moved, {"velocity": velocity}

    said = f"momentum {beta:g}, lr {lr:g}"
    return Discretisation(said, step, lr / (1 - beta), (2 + 2 * beta) / lr)


def adam(lr: float) -> Discretisation:
    """Adam; a step takes as long as the flow would to go as far, ‖Δθ‖/‖∇L‖.

    Its learning rate is a length, so it has no time of its own.

    Args:
        lr: the learning rate [param].

    Example:
        >>> adam(0.001).said
        'Adam, lr 0.001'

    Source: as `thalweg.optim.Adam`; the time is ours.
    """
    _check(lr)

    def step(gradient: Tensor, memory: Memory) -> tuple[Tensor, Memory]:
        zero = torch.zeros_like(gradient)
        t = memory.get("t", 0) + 1
        moved, mean, square = adam_step(
            gradient, memory.get("mean", zero), memory.get("square", zero), t, lr
        )
        return moved, {"mean": mean, "square": square, "t": t}

    return Discretisation(f"Adam, lr {lr:g}", step, None, None)


def walked(
    method: Discretisation, field: Field, start: Place, path: Path, max_steps: int
) -> DiscretePath:
    """Takes steps until the flow's last time.

    Cost: a gradient a step.
    """
    time, place, memory, ending = 0.0, start, dict[str, Any](), ""
    times, values = [0.0], [start.value]
    compared, distances = [0.0], [0.0]
    spacing = path.end / MOST_COMPARED
    while True:
        if len(times) > max_steps:
            ending = f"stopped after {max_steps:,} steps, at t = {time:.4g}"
            break
        step, memory = method.step(place.gradient, memory)
        slope = float(torch.linalg.vector_norm(place.gradient))
        length = float(torch.linalg.vector_norm(step))
        pace = method.pace if method.pace is not None else length / slope if slope > 0 else inf
        if time + pace > path.end * (1 + 1e-12):
            break
        time = min(time + pace, path.end)
        try:
            place = field.at(place.vector + step)
        except NonFiniteError:
            ending = f"diverged at t = {time:.4g}"
            break
        times.append(time)
        values.append(place.value)
        if time >= compared[-1] + spacing or len(times) < 20:
            compared.append(time)
            distances.append(float(torch.linalg.vector_norm(place.vector - path.at(time))))
    return DiscretePath(
        method.said,
        tuple(times),
        tuple(values),
        tuple(compared),
        tuple(distances),
        method.limit,
        ending,
    )


def _check(lr: float) -> None:
    if not lr > 0:
        raise ThalwegError(f"lr={lr}; give a positive learning rate")
