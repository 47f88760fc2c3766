"""How fast the Hessian may change: bounded for linear networks, estimated for others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations
from math import prod, sqrt

import torch
from torch import Tensor, nn

from thalweg.critical._ground import Ground, Place
from thalweg.problems._linear_networks import half_squares

SAFETY = 2.0
"""An estimate is the largest change seen, times this."""


@dataclass(frozen=True)
class Lipschitz:
    """‖H(θ) − H(θ′)‖₂ ≤ K ‖θ − θ′‖ within a ball around a place.

    Args:
        value: K [loss/param³].
        is_proved: bounded, rather than estimated from changes seen.
    """

    value: float
    is_proved: bool


def lipschitz(
    ground: Ground, place: Place, radius: float, way: Tensor, generator: torch.Generator
) -> Lipschitz:
    """K in the ball of that radius.

        K ≤ 12 c (a₀a₃ + a₁a₂),   aⱼ ≤ ‖X‖₂ Σ_{|S|=j} j^{−j/2} Π_{l∉S} (‖W_l‖₂ + ρ)

    for a network of linear layers and L = c ‖Y − W_d…W₁X‖², whose residual along a direction is a
    polynomial with coefficients of norm aⱼ (a₀ also grows with the ball). For other networks, the
    largest ‖(H(θ + hv) − H(θ))w‖/h over Newton's direction and two random ones, by power
    iteration, times 2: an estimate.

    Args:
        ground: the surface.
        place: the middle of the ball.
        radius: ρ.
        way: Newton's direction, tried first.
        generator: of the random directions.
    """
    network = linear_network(place)
    if network is not None:
        return Lipschitz(network.bound(radius), True)
    n = ground.size
    h = max(1e-4 * max(float(place.vector.norm()), 1.0), radius)
    H = ground.hessian(place)
    largest = 0.0
    directions = [way] if float(way.norm()) else []
    directions += [_normal(n, generator, way) for _ in range(2)]
    for direction in directions:
        moved = ground.hessian(ground.at(place.vector + h * direction / direction.norm()))
        w = _normal(n, generator, way)
        for _ in range(6):
            w = w / w.norm()
            change = (moved @ w - H @ w) / h
            largest = max(largest, float(change.norm()))
            if not float(change.norm()):
                break
            w = change
    return Lipschitz(SAFETY * largest, False)


@dataclass(frozen=True, eq=False)
class LinearNetwork:
    """A stack of linear layers under a sum of squares, at a place.

    Args:
        weights: W₁ … W_d, a bias as a further column.
        factor: c.
        inputs: ‖X‖₂, with a row of ones where there are biases.
        residual: ‖Y − W_d…W₁X‖_F.
    """

    weights: tuple[Tensor, ...]
    factor: float
    inputs: float
    residual: float

    def bound(self, radius: float) -> float:
        """K in the ball of that radius."""
        sizes = [float(torch.linalg.matrix_norm(W, 2)) for W in self.weights]
        grown = [size + radius for size in sizes]
        depth = len(sizes)

        def coefficient(j: int) -> float:
            """aⱼ: by Cauchy–Schwarz for j = 1, by the mean of squares beyond."""
            rests = [
                prod(grown[i] for i in range(depth) if i not in chosen)
                for chosen in combinations(range(depth), j)
            ]
            total = sqrt(sum(rest**2 for rest in rests)) if j == 1 else sum(rests) * j ** (-j / 2)
            return self.inputs * total

        a0 = self.residual + self.inputs * (prod(grown) - prod(sizes))
        a3 = coefficient(3) if depth >= 3 else 0.0
        a2 = coefficient(2) if depth >= 2 else 0.0
        return 12 * self.factor * (a0 * a3 + coefficient(1) * a2)

    def orbit(self) -> Tensor:
        """Tangents of the symmetries W_l → A W_l, W_{l+1} → W_{l+1} A⁻¹, as columns (n, Σh²)."""
        columns = []
        for lower in range(len(self.weights) - 1):
            W, V = self.weights[lower], self.weights[lower + 1]
            h = len(W)
            for i in range(h):
                for j in range(h):
                    moved = [torch.zeros_like(weight) for weight in self.weights]
                    moved[lower][i] = W[j]
                    moved[lower + 1][:, j] = -V[:, i]
                    columns.append(torch.cat([m.reshape(-1) for m in moved]))
        return torch.stack(columns, 1) if columns else self.weights[0].new_zeros((0, 0))


def linear_network(place: Place) -> LinearNetwork | None:
    """The network as a stack of linear layers, None where it is none or the loss no square.

    Biases are left out of account: with one there is no bound.
    """
    problem = place.point.problem
    model, loss = problem.model, problem.loss
    layers = list(model.children()) if isinstance(model, nn.Sequential) else []
    if not layers or not all(type(layer) is nn.Linear and layer.bias is None for layer in layers):
        return None
    if not _is_squares(loss) or place.point.layout.names != tuple(
        f"{i}.weight" for i in range(len(layers))
    ):
        return None
    weights = tuple(place.point.params.values())
    square, inputs = 0.0, []
    for batch in problem.batches:
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            return None
        x, y = batch
        x, y = x.double().reshape(-1, x.shape[-1]), y.double()
        out = x
        for W in weights:
            out = out @ W.T
        square += float((out - y.reshape(out.shape)).square().sum())
        inputs.append(x)
    largest = float(torch.linalg.matrix_norm(torch.cat(inputs), 2))
    if not square:
        return None
    return LinearNetwork(weights, place.value / square, largest, sqrt(square))


def _is_squares(loss: Callable[..., Tensor] | None) -> bool:
    return (
        loss is half_squares
        or loss is nn.functional.mse_loss
        or (type(loss) is nn.MSELoss and loss.reduction != "none")
    )


def _normal(n: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(n, generator=generator, dtype=torch.float64).to(like.device)
