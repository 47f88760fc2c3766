"""The classical Runge–Kutta method: what flows are usually followed with."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

import torch

from thalweg._errors import NonFiniteError, ThalwegError
from thalweg.gradient_flow._field import Field, Place
from thalweg.gradient_flow._integrator import FlowStuck, Integrator, Node, Step
from thalweg.gradient_flow._sharpness_reader import SharpnessReader

_READ_EVERY = 32


@dataclass(frozen=True)
class RungeKutta4(Integrator):
    """The classical method of order 4, without error control.

        k₁ = f(θ), k₂ = f(θ + h k₁/2), k₃ = f(θ + h k₂/2), k₄ = f(θ + h k₃)
        θ' = θ + h (k₁ + 2k₂ + 2k₃ + k₄)/6,   f = −∇L

    Args:
        step: h [param²/loss]; 1/λ_max where left out, read anew every 32 steps, on an account of
            its own. Steps are stable up to 2.785/λ_max.

    Raises:
        ThalwegError: if the step is not positive.

    Cost: 4 gradients a step.

    Example:
        >>> RungeKutta4(step=0.1).said
        'Runge–Kutta 4, step 0.1'

    Source: Kutta 1901. Its step at 1/λ_max is the reference of Cohen et al. 2021, "Gradient descent
    on neural networks typically occurs at the edge of stability", appendix I.5.
    """

    step: float | None = None

    def __post_init__(self) -> None:
        if self.step is not None and not self.step > 0:
            raise ThalwegError(f"RungeKutta4(step={self.step}); give a positive step, or none")

    @property
    def said(self) -> str:
        """The method in words."""
        return f"Runge–Kutta 4, step {'1/λ_max' if self.step is None else f'{self.step:g}'}"

    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Steps of this method; see `Integrator.steps`."""
        reader = SharpnessReader(field, generator)
        time, place, count, h = 0.0, start, 0, self.step or 0.0
        while time < span:
            if self.step is None and count % _READ_EVERY == 0:
                sharpness = abs(reader.read(place, time).value)
                h = 1 / sharpness if sharpness > 0 else span
            count += 1
            is_last = time + h >= span * (1 - 1e-12)
            length = span - time if is_last else h
            try:
                second = field.at(place.vector - length / 2 * place.gradient)
                third = field.at(place.vector - length / 2 * second.gradient)
                fourth = field.at(place.vector - length * third.gradient)
                slopes = [place.gradient, second.gradient, third.gradient, fourth.gradient]
                mean = (slopes[0] + 2 * slopes[1] + 2 * slopes[2] + slopes[3]) / 6
                arrived = field.at(place.vector - length * mean)
            except NonFiniteError as error:
                raise FlowStuck(
                    f"the loss is not finite after t = {time:.6g}: the step is too long"
                ) from error
            squares = [float(slope @ slope) for slope in slopes]
            energy = length * (squares[0] + 2 * squares[1] + 2 * squares[2] + squares[3]) / 6
            time, place = span if is_last else time + length, arrived
            node = Node(time, arrived.vector, -arrived.gradient)
            yield Step((node,), arrived, energy, nan)
