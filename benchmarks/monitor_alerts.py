"""Which alerts healthy and sick trainings get: `python -m benchmarks.monitor_alerts`, one minute.

Digits, 400 steps of 32; read at every fourth step, without Hessian products.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn

import thalweg
from thalweg import Monitor, monitor

Optimizer = Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]


def dense(*widths: int, activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """64 → widths → 10."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise((64, *widths, 10)):
        layers += [nn.Linear(fan_in, fan_out), activation()]
    return nn.Sequential(*layers[:-1])


class Residual(nn.Module):
    """Twenty blocks with layer norm."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(64, 32), nn.Linear(32, 10)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32))
            for _ in range(20)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        x = self.first(x)
        for block in self.blocks:
            x = x + block(x)
        return self.last(x)


def convolution() -> nn.Module:
    """With batch norm and dropout."""
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.2), nn.Linear(128, 10),
    )  # fmt: skip


def two(
    last: float | None = None, every: float | None = None, bias: float | None = None
) -> nn.Sequential:
    """Two hidden layers; the last weights, all parameters, or the first biases set to a number."""
    model = dense(64, 64)
    with torch.no_grad():
        if last is not None:
            model[-1].weight.fill_(last)
        if bias is not None:
            model[0].bias.fill_(bias)
        for parameter in model.parameters():
            if every is not None:
                parameter.fill_(every)
    return model


def sgd(lr: float, **more: object) -> Optimizer:
    """Plain, or with momentum."""
    return lambda params: torch.optim.SGD(params, lr=lr, **more)  # type: ignore[arg-type]


def adam(lr: float) -> Optimizer:
    """At its usual betas."""
    return lambda params: torch.optim.Adam(params, lr=lr)


HEALTHY: dict[str, tuple[Callable[[], nn.Module], Optimizer]] = {
    "dense, SGD 0.1": (two, sgd(0.1)),
    "dense, SGD 0.003": (two, sgd(0.003)),
    "dense, momentum": (two, sgd(0.05, momentum=0.9)),
    "dense, Adam": (two, adam(1e-3)),
    "dense tanh, Adam 3e-3": (lambda: dense(64, 64, activation=nn.Tanh), adam(3e-3)),
    "residual, SGD": (Residual, sgd(0.02)),
    "residual, Adam": (Residual, adam(1e-3)),
    "convolution, momentum": (convolution, sgd(0.1, momentum=0.9)),
    "last layer zero, SGD": (lambda: two(last=0.0), sgd(0.1)),
}
SICK: dict[str, tuple[Callable[[], nn.Module], Optimizer]] = {
    "eight sigmoid layers": (lambda: dense(*(64,) * 8, activation=nn.Sigmoid), sgd(0.1)),
    "SGD 5": (two, sgd(5.0)),
    "Adam 1": (two, adam(1.0)),
    "all zero": (lambda: two(every=0.0), sgd(0.1)),
    "first layer dead": (lambda: two(bias=-50.0), sgd(0.1)),
    "SGD 1e-9": (two, sgd(1e-9)),
    "uphill": (two, sgd(0.01, maximize=True)),
}


def watched(build: Callable[[], nn.Module], make: Optimizer) -> Monitor:
    """The monitor of one training."""
    (x, y), _ = thalweg.problems.digits()
    x = x.float()
    torch.manual_seed(0)
    model = build()
    optimizer = make(model.parameters())
    generator = torch.Generator().manual_seed(1)
    instruments = monitor.without_products()
    with Monitor(
        model, F.cross_entropy, optimizer, instruments=instruments, every=4, overhead=math.inf
    ) as watch:
        for _ in range(400):
            index = torch.randint(len(x), (32,), generator=generator)
            watch.see((x[index], y[index]))
            optimizer.zero_grad()
            F.cross_entropy(model(x[index]), y[index]).backward()
            optimizer.step()
    return watch


def main() -> None:
    """Prints the alerts of each, and the counts."""
    torch.set_num_threads(1)
    for title, trainings in (("healthy", HEALTHY), ("sick", SICK)):
        told = 0
        for name, (build, make) in trainings.items():
            watch = watched(build, make)
            told += bool(watch.alerts)
            loss = watch.history[-1].values.get("loss", math.nan)
            print(f"{title}: {name}, loss {loss:.3g}", *watch.alerts, sep="\n    ")
        print(f"{told} of {len(trainings)} {title} trainings got an alert\n", flush=True)


if __name__ == "__main__":
    main()
