"""How fast the Hessian of a dense network with smooth activations can change: a bound."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg.critical._ground import Place
from thalweg.critical._squares import is_squares, pairs

_SLOPES: dict[type[nn.Module], tuple[float, float, float]] = {
    nn.Tanh: (1.0, 0.77, 2.0),
    nn.Sigmoid: (0.25, 0.0963, 0.125),
    nn.SiLU: (1.1, 0.5, 0.3082),
    nn.GELU: (1.129, 0.798, 0.779),
    nn.Identity: (1.0, 0.0, 0.0),
}
"""Bounds of |φ′|, |φ″| and |φ‴| over all numbers, rounded up."""


@dataclass(frozen=True, eq=False)
class _Layer:
    """W, whether there is a bias, and the bounds of what follows; φ itself to go through."""

    weight: Tensor
    bias: Tensor | None
    slopes: tuple[float, float, float]
    phi: Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class SmoothNetwork:
    """Dense layers with smooth activations under a sum of squares, at a place.

    Args:
        layers: in order.
        inputs: x (N, d).
        targets: y (N, m).
        factor: c of L = c Σ‖f(x) − y‖².
    """

    layers: tuple[_Layer, ...]
    inputs: Float[Tensor, "N d"]
    targets: Float[Tensor, "N m"]
    factor: float

    def bound(self, radius: float) -> float:
        """K with ‖H(θ) − H(θ′)‖₂ ≤ K ‖θ − θ′‖ in the ball of that radius.

            K = 2c Σₙ (3 R₁R₂ + R₀R₃),   Rⱼ ≥ ‖dʲ/dsʲ (f(xₙ; θ + s v) − yₙ)‖ for every unit v

        Along a line with u = W a + b:  U₁ = ‖W‖A₁ + √(A₀² + 1),  U₂ = ‖W‖A₂ + 2A₁,
        U₃ = ‖W‖A₃ + 3A₂, and through φ:  A₁ = c₁U₁,  A₂ = c₂U₁² + c₁U₂,
        A₃ = c₃U₁³ + 3c₂U₁U₂ + c₁U₃. ‖W‖ and A₀ are those at the middle, enlarged by what the ball
        allows. The third derivative is symmetric, so that its norm is the largest along lines.

        Source: Banach 1938, for the last sentence; the bound is ours.
        """
        a = self.inputs
        A0 = torch.linalg.vector_norm(a, dim=1)
        A1, A2, A3 = (torch.zeros_like(A0) for _ in range(3))
        for layer in self.layers:
            c1, c2, c3 = layer.slopes
            size = float(torch.linalg.matrix_norm(layer.weight, 2)) + radius
            own = A0 if layer.bias is None else (A0.square() + 1).sqrt()
            U1, U2, U3 = size * A1 + own, size * A2 + 2 * A1, size * A3 + 3 * A2
            A1, A2, A3 = (
                c1 * U1,
                c2 * U1.square() + c1 * U2,
                c3 * U1.pow(3) + 3 * c2 * U1 * U2 + c1 * U3,
            )
            a = layer.phi(nn.functional.linear(a, layer.weight, layer.bias))
            A0 = torch.linalg.vector_norm(a, dim=1) + radius * A1
        R0 = torch.linalg.vector_norm(a - self.targets, dim=1) + radius * A1
        return 2 * self.factor * float((3 * A1 * A2 + R0 * A3).sum())

    def square(self) -> float:
        """Σ‖f(x) − y‖² [loss/c]."""
        a = self.inputs
        for layer in self.layers:
            a = layer.phi(nn.functional.linear(a, layer.weight, layer.bias))
        return float((a - self.targets).square().sum())


def smooth_network(place: Place) -> SmoothNetwork | None:
    """The network as dense layers with smooth activations; None where it or the loss is another."""
    problem = place.point.problem
    model = problem.model
    if not isinstance(model, nn.Sequential) or not is_squares(problem):
        return None
    if set(place.point.layout.names) != {name for name, _ in model.named_parameters()}:
        return None
    data, layers = pairs(problem), _layers(model, place)
    if data is None or layers is None:
        return None
    network = SmoothNetwork(layers, *data, 1.0)
    square = network.square()
    return replace(network, factor=place.point.value / square) if square else None


def _layers(model: nn.Sequential, place: Place) -> tuple[_Layer, ...] | None:
    """Linear modules, each with the activation after it; None where there is anything else."""
    params = place.point.params
    modules = list(model.named_children())
    layers = []
    for (name, module), following in zip(modules, [*modules[1:], None], strict=True):
        if type(module) is nn.Linear:
            phi = nn.Identity() if following is None else following[1]
            if type(phi) is nn.Linear:
                phi = nn.Identity()
            if type(phi) not in _SLOPES or getattr(phi, "approximate", "none") != "none":
                return None
            bias = params.get(f"{name}.bias")
            layers.append(_Layer(params[f"{name}.weight"], bias, _SLOPES[type(phi)], phi))
        elif type(module) not in _SLOPES or not layers:
            return None
    is_chained = all(
        type(one) is nn.Linear or type(other) is nn.Linear
        for (_, one), (_, other) in pairwise(modules)
    )
    return tuple(layers) if layers and is_chained else None
