"""Small networks on one small data set: what the tests train on, and its builders."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg import Problem, examine
from thalweg.doctor import Examination

BATCH = 32
GRADIENTS = "340g"
"""Trials of 100 steps on the data below, and the curvature of up to 51 parameters exactly."""


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@cache
def clusters() -> tuple[Tensor, Tensor]:
    """256 points of 8 features in 3 clusters, all but separable."""
    generator = torch.Generator().manual_seed(0)
    middles = 1.25 * torch.randn(3, 8, generator=generator)
    y = torch.randint(3, (256,), generator=generator)
    return middles[y] + torch.randn(256, 8, generator=generator), y


@cache
def curve() -> tuple[Tensor, Tensor]:
    """The same points, and a smooth function of them."""
    x, _ = clusters()
    return x, 2 * x[:, :1].sin() + 0.5 * x[:, 1:2]


def sgd(lr: float, momentum: float = 0.0) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda params: torch.optim.SGD(params, lr=lr, momentum=momentum)


def adam(lr: float) -> Callable[[Any], torch.optim.Optimizer]:
    return lambda params: torch.optim.Adam(params, lr=lr)


def seeded(build: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module at torch's default initialisation, the global generator left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


def dense(*sizes: int, activation: Callable[[], nn.Module] = nn.ReLU, seed: int = 0) -> nn.Module:
    """Linear layers with the activation between them."""

    def build() -> nn.Module:
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), activation()]
        return nn.Sequential(*layers[:-1])

    return seeded(build, seed)


def gaussian(model: nn.Module, variance: float, bias: float = 0.0, seed: int = 0) -> nn.Module:
    """W ~ N(0, σ_w²/fan_in) in every dense layer, and one value for the hidden biases."""
    generator = torch.Generator().manual_seed(seed)
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    with torch.no_grad():
        for layer in layers:
            drawn = torch.randn(layer.weight.shape, generator=generator)
            layer.weight.copy_(drawn * math.sqrt(variance / layer.in_features))
            if layer.bias is not None:
                layer.bias.fill_(bias if layer is not layers[-1] else 0.0)
    return model


def scaled(model: nn.Module, factor: float) -> nn.Module:
    """All parameters times a factor."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(factor)
    return model


def trained(problem: Problem, num_steps: int, lr: float = 0.01) -> Problem:
    """The problem after full-batch Adam."""
    optimizer = torch.optim.Adam(problem.model.parameters(), lr=lr)
    x, y = problem.data
    for _ in range(num_steps):
        optimizer.zero_grad()
        problem.loss(problem.model(x), y).backward()
        optimizer.step()
    problem.model.zero_grad()
    return problem


def classify(model: nn.Module, optimizer: Any, **settings: Any) -> Problem:
    settings = {"batch_size": BATCH} | settings
    return Problem(model, F.cross_entropy, clusters(), optimizer=optimizer, **settings)


def regress(model: nn.Module, optimizer: Any, **settings: Any) -> Problem:
    settings = {"batch_size": BATCH} | settings
    return Problem(model, F.mse_loss, curve(), optimizer=optimizer, **settings)


def examined(problem: Problem, budget: str = GRADIENTS, seed: int = 0) -> Examination:
    return examine(problem, budget=budget, seed=seed)


class Residual(nn.Module):
    """Residual blocks, of which the head takes a tenth, so that early gradients are small."""

    def __init__(self, width: int = 24, depth: int = 12) -> None:
        super().__init__()
        self.entry = nn.Linear(8, width)
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.entry(x)
        for block in self.blocks:
            h = h + torch.relu(block(h)) / len(self.blocks)
        return self.head(0.1 * h)


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(2, 10, batch_first=True)
        self.head = nn.Linear(10, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x.reshape(-1, 4, 2))[0][:, -1])


class Attentive(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.entry = nn.Linear(2, 16)
        self.layer = nn.TransformerEncoderLayer(16, 2, 24, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer(self.entry(x.reshape(-1, 4, 2))).mean(1))


class OwnLoss(nn.Module):
    """Takes labels and returns its loss, as Hugging Face models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(8, 24), nn.GELU(), nn.Linear(24, 3))

    def forward(self, features: Tensor, labels: Tensor | None = None) -> dict[str, Tensor]:
        logits = self.body(features)
        return {"logits": logits, "loss": F.cross_entropy(logits, labels)}


class Logarithm(nn.Module):
    """Learns a target that its logarithm cannot reach without crossing zero."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(8, 1)
        with torch.no_grad():
            self.linear.weight.fill_(0.01)
            self.linear.bias.fill_(1.0)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x).log()


def with_one_feature_constant(problem: Problem) -> Problem:
    x, y = problem.data
    x = x.clone()
    x[:, 3], x[:, 5] = 1.0, 0.0
    return replace(problem, data=(x, y))
