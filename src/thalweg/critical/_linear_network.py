"""Stacks of linear layers under a sum of squares: a bound of K, and the symmetries."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from math import prod, sqrt

import torch
from torch import Tensor, nn

from thalweg.critical._ground import Place
from thalweg.critical._squares import is_squares, pairs


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
    model = problem.model
    layers = list(model.children()) if isinstance(model, nn.Sequential) else []
    if not layers or not all(type(layer) is nn.Linear and layer.bias is None for layer in layers):
        return None
    if not is_squares(problem) or place.point.layout.names != tuple(
        f"{i}.weight" for i in range(len(layers))
    ):
        return None
    weights = tuple(place.point.params.values())
    data = pairs(problem)
    if data is None:
        return None
    x, y = data
    out = x
    for W in weights:
        out = out @ W.T
    square = float((out - y).square().sum())
    if not square:
        return None
    largest = float(torch.linalg.matrix_norm(x, 2))
    return LinearNetwork(weights, place.point.value / square, largest, sqrt(square))
