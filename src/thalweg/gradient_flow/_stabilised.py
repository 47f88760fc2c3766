"""A stabilised Runge–Kutta method: many gradients a step, and steps that grow with their square."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import floor, inf, sqrt

import torch
from torch import Tensor

from thalweg._errors import NonFiniteError, ThalwegError
from thalweg.gradient_flow._field import Field, Place
from thalweg.gradient_flow._integrator import FlowStuck, Integrator, Node, Step, check_tol, size_of
from thalweg.gradient_flow._sharpness_reader import SharpnessReader

DAMPING = 2 / 13
MARGIN = 1.1
"""λ_max is read from below."""

_SAFETY, _LEAST, _MOST = 0.8, 0.1, 5.0


@dataclass(frozen=True)
class RungeKuttaChebyshev(Integrator):
    """RKC of order 2: s gradients a step, stable up to h λ_max = 2/3 (s² − 1)(1 − 2ε/15).

        Y₀ = θ, Y₁ = Y₀ + μ̃₁ h F₀
        Y_j = (1 − μ_j − ν_j) Y₀ + μ_j Y_{j−1} + ν_j Y_{j−2} + μ̃_j h F_{j−1} + γ̃_j h F₀
        error = 0.8 (θ − θ') + 0.4 h (F + F')

    s follows from h and λ_max, which is read at each step from its last eigenvector. ∫‖∇L‖² is
    carried along as a component of its own.

    Args:
        tol: of the local error, as a share of max(1, ‖θ‖).
        max_stages: the most gradients in one step.

    Raises:
        ThalwegError: if an argument is out of range.

    Cost: s ≈ √(1.54 h λ_max + 1) + 1 gradients a step, and reading λ_max, 3 gradients or more.

    Example:
        >>> RungeKuttaChebyshev(1e-4).said
        'Runge–Kutta–Chebyshev of order 2, tol 0.0001'

    Source: Sommeijer, Shampine and Verwer 1997, "RKC: an explicit solver for parabolic PDEs",
    sections 2 and 3, with ε = 2/13. λ_max is by Lanczos, not by a nonlinear power method.
    """

    tol: float = 1e-6
    max_stages: int = 200

    def __post_init__(self) -> None:
        check_tol("RungeKuttaChebyshev", self.tol)
        if self.max_stages < 2:
            raise ThalwegError(f"RungeKuttaChebyshev(max_stages={self.max_stages}); give 2 or more")

    @property
    def said(self) -> str:
        """The method in words."""
        return f"Runge–Kutta–Chebyshev of order 2, tol {self.tol:g}"

    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Steps of this method; see `Integrator.steps`."""
        reader = SharpnessReader(field, generator, tol=5e-2, tally=field.tally)
        time, place = 0.0, start
        sharpness = abs(reader.read(place, time).value) * MARGIN
        speed = float(torch.linalg.vector_norm(start.gradient))
        h = min(span, sqrt(self.tol * size_of(start.vector) / max(sharpness * speed, 1e-300)))
        while time < span:
            longest = 0.653 * (self.max_stages**2 - 1) / max(sharpness, 1e-300)
            is_last = time + min(h, longest) >= span * (1 - 1e-12)
            length = span - time if is_last else min(h, longest)
            tol = self.tol * size_of(place.vector)
            try:
                arrived, energy = _chebyshev(field, place, length, sharpness)
                estimate = 0.8 * (place.vector - arrived.vector)
                estimate -= 0.4 * length * (place.gradient + arrived.gradient)
                error = float(torch.linalg.vector_norm(estimate))
            except NonFiniteError:
                arrived, energy, error = place, 0.0, inf
            shrink = _SAFETY * (tol / max(error, 1e-300)) ** (1 / 3)
            h = length * min(_MOST, max(_LEAST, shrink))
            if not error <= tol:
                if h < 1e-14 * max(time, 1e-300):
                    raise FlowStuck(f"steps got as short as rounding at t = {time:.6g}")
                continue
            time, place = span if is_last else time + length, arrived
            yield Step((Node(time, place.vector, -place.gradient),), place, energy, error)
            sharpness = abs(reader.read(place, time).value) * MARGIN


def _chebyshev(field: Field, start: Place, h: float, sharpness: float) -> tuple[Place, float]:
    """One step: where it ends, and ∫‖∇L‖² over it."""
    s = max(2, 1 + floor(sqrt(1 + 1.54 * h * sharpness)))
    w0 = 1 + DAMPING / s**2
    T, dT, ddT = _chebyshev_values(s, w0)
    w1 = dT[s] / ddT[s]
    b = [0.0, 0.0, *(ddT[j] / dT[j] ** 2 for j in range(2, s + 1))]
    b[0] = b[1] = b[2]
    a = [1 - b[j] * T[j] for j in range(s + 1)]
    slope = -start.gradient
    first = b[1] * w1
    before, stage = start.vector, start.vector + first * h * slope
    square = float(slope @ slope)
    energy_before, energy = 0.0, first * h * square
    for j in range(2, s + 1):
        mu, nu = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2]
        mu_h = 2 * b[j] * w1 / b[j - 1] * h
        gamma_h = -a[j - 1] * mu_h
        here = field.at(stage)
        after = _mixed(start.vector, stage, before, mu, nu)
        after = after - mu_h * here.gradient + gamma_h * slope
        power = float(here.gradient @ here.gradient)
        energy, energy_before = (
            mu * energy + nu * energy_before + mu_h * power + gamma_h * square,
            energy,
        )
        stage, before = after, stage
    return field.at(stage), energy


def _mixed(start: Tensor, one: Tensor, other: Tensor, mu: float, nu: float) -> Tensor:
    return (1 - mu - nu) * start + mu * one + nu * other


def _chebyshev_values(s: int, w: float) -> tuple[list[float], list[float], list[float]]:
    """T_j(w), T_j'(w), T_j''(w) for j = 0 … s, by their recurrence."""
    T, dT, ddT = [1.0, w], [0.0, 1.0], [0.0, 0.0]
    for _ in range(2, s + 1):
        T.append(2 * w * T[-1] - T[-2])
        dT.append(2 * w * dT[-1] - dT[-2] + 2 * T[-2])
        ddT.append(2 * w * ddT[-1] - ddT[-2] + 4 * dT[-2])
    return T, dT, ddT
