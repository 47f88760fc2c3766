"""Predicted against measured gradient ratios per layer: `python -m benchmarks.mean_field`.

Ten dense layers of one width with each of fifteen activations, at a weight variance with χ = 3/4
for a length of 1 and a bias variance of 0.05, so that none is met where the theory is trivial. The
loss is linear in the output with independent targets, since theory takes what comes back as
independent of what went forward.

A line says the predicted and the measured ratio of ‖∂L/∂z‖ to that of the next layer, means over
layers and draws of the weights; how far they are apart; that of the worst layer, mean over draws;
of the worst layer of a single draw; the same with the slopes of that very draw; how large the
misses are in the standard errors that the prediction states for one input (32 inputs average much
of them out), and how many are beyond two.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from math import sqrt
from statistics import mean, stdev

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg import Pass, Problem
from thalweg.signal import DepthRow, Signal, slope_factor

Activation = Callable[[Tensor], Tensor]


def bump(x: Tensor) -> Tensor:
    """A function of the user's own, with a kink that is not at zero."""
    return torch.where(x > 0.3, x, 0.3 * torch.sin(x) + 0.3 - 0.3 * torch.sin(torch.tensor(0.3)))


ACTIVATIONS: dict[str, Activation] = {
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "ReLU": F.relu,
    "leaky ReLU 0.1": lambda x: F.leaky_relu(x, 0.1),
    "ELU": F.elu,
    "SELU": F.selu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "softplus": F.softplus,
    "softsign": F.softsign,
    "hardtanh": F.hardtanh,
    "erf": torch.erf,
    "sin": torch.sin,
    "x·σ(1.7x), own": lambda x: x * torch.sigmoid(1.7 * x),
    "kink at 0.3, own": bump,
}


class Chain(nn.Module):
    """Dense layers with a function between them."""

    def __init__(self, layers: list[nn.Linear], phi: Activation) -> None:
        super().__init__()
        self.layers, self.phi = nn.ModuleList(layers), phi

    def forward(self, x: Tensor) -> Tensor:
        """Layer, φ, layer, …, layer."""
        for layer in self.layers[:-1]:
            x = self.phi(layer(x))
        out: Tensor = self.layers[-1](x)
        return out


def linear_loss(output: Tensor, target: Tensor) -> Tensor:
    """Its gradient does not depend on the output."""
    return (output * target).mean()


def weight_variance(phi: Activation) -> float:
    """σ_w² with χ = 3/4 at q = 1."""
    return 0.75 / slope_factor(phi, 1.0, 1.0)


def problem(phi: Activation, depth: int, width: int, seed: int) -> Problem:
    """A random network with that activation, and data to send through it."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    layers = []
    for _ in range(depth):
        layer = nn.Linear(width, width, device="meta", dtype=torch.float64).to_empty(device="cpu")
        with torch.no_grad():
            layer.weight.copy_(normal(width, width) * sqrt(weight_variance(phi) / width))
            layer.bias.copy_(normal(width) * sqrt(0.05))
        layers.append(layer)
    return Problem(Chain(layers, phi), linear_loss, (normal(32, width), normal(32, width)))


def measured(phi: Activation, depth: int, width: int, seeds: int) -> Iterator[list[DepthRow]]:
    """The hidden rows of several draws of the network."""
    for seed in range(seeds):
        yield list(Signal.of(Pass.of(problem(phi, depth, width, seed))).rows[:-1])


def main() -> None:
    """Prints one line for each activation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--depth", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=8)
    given = parser.parse_args()
    print(
        f"width {given.width}, {given.depth} layers, {given.seeds} draws; ratios of gradient norms"
    )
    print(
        f"{'activation':18s} {'predicted':>9s} {'measured':>9s} {'miss':>6s} "
        f"{'layer':>7s} {'single':>7s} {'by slopes':>9s} {'in errors':>9s} {'beyond 2':>8s}"
    )
    worst = 0.0
    for name, phi in ACTIVATIONS.items():
        draws = list(measured(phi, given.depth, given.width, given.seeds))
        rows = [row for draw in draws for row in draw]
        pairs = [(row.gradient_ratio or 0.0, row.predicted_gradient_ratio or 1.0) for row in rows]
        misses = [m / p - 1 for m, p in pairs]
        scores = [
            (m - p) / (row.predicted_ratio_stderr or 1.0)
            for (m, p), row in zip(pairs, rows, strict=True)
        ]
        single = [
            m / (row.ratio_by_slopes or 1.0) - 1 for (m, _), row in zip(pairs, rows, strict=True)
        ]
        hidden = len(draws[0])
        worst_layer = max(abs(mean(misses[at::hidden])) for at in range(hidden))
        worst = max(worst, worst_layer)
        print(
            f"{name:18s} {mean(p for _, p in pairs):9.4f} {mean(m for m, _ in pairs):9.4f} "
            f"{mean(misses):+6.2%} {worst_layer:7.2%} {max(map(abs, misses)):7.2%} "
            f"{max(map(abs, single)):9.2%} "
            f"{stdev(scores):9.2f} {mean(abs(z) > 2 for z in scores):8.1%}"
        )
    print(f"largest miss of any layer, mean over the draws: {worst:.2%} (goal: 5 %)")


if __name__ == "__main__":
    main()
