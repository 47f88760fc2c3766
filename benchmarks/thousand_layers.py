"""A plain tanh network of 1,000 layers that trains: `python -m benchmarks.thousand_layers`.

Digits, width 64, no residuals, no normalisation, stochastic gradient descent at a constant rate.
The initialisation comes from `thalweg.signal.edge_initialisation`, which reads the network and the
data; the same network at torch's own initialisation stands beside it.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import torch
from torch import nn

from thalweg import Pass, Problem
from thalweg.problems import digits
from thalweg.signal import Signal, edge_initialisation

MINIBATCH = 128


def problem(depth: int, width: int, seed: int) -> Problem:
    """The network at torch's own initialisation."""
    (x, y), (x_test, y_test) = digits()
    mean, std = x.mean(), x.std()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers: list[nn.Module] = [nn.Linear(64, width), nn.Tanh()]
        for _ in range(depth - 2):
            layers += [nn.Linear(width, width), nn.Tanh()]
        model = nn.Sequential(*layers, nn.Linear(width, 10))
    data = ((x - mean) / std, y), ((x_test - mean) / std, y_test)
    return Problem(model, nn.functional.cross_entropy, data[0], test=data[1])


def accuracy(model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor]) -> float:
    """Share of samples classified right."""
    with torch.no_grad():
        return float((model(batch[0]).argmax(1) == batch[1]).double().mean())


def trained(given: Problem, lr: float, momentum: float, epochs: int, seed: int) -> Iterator[str]:
    """Trains the problem's own model, and says after each epoch where it is."""
    optimizer = torch.optim.SGD(given.model.parameters(), lr=lr, momentum=momentum)
    generator = torch.Generator().manual_seed(seed)
    (x, y), test = given.batches[0], given.test_batches[0]
    num_gradients = 0
    for epoch in range(1, epochs + 1):
        total = 0.0
        for index in torch.randperm(len(x), generator=generator).split(MINIBATCH):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(given.model(x[index]), y[index])
            torch.autograd.backward(loss)
            optimizer.step()
            total += float(loss.detach()) * len(index)
            num_gradients += 1
        yield (
            f"epoch {epoch:3d}  {num_gradients:5d} gradients  loss {total / len(x):.4f}  accuracy "
            f"{accuracy(given.model, (x, y)):.3f}  held out {accuracy(given.model, test):.3f}"
        )


def main() -> None:
    """Prints what was read at the start, and one line for each epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--depth", type=int, default=1000)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--lr", type=float, default=3e-4)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--also-default", type=int, default=2, help="epochs of the other")
    given = parser.parse_args()
    start = problem(given.depth, given.width, given.seed)
    found = edge_initialisation(start)
    edge = found.edges["tanh"]
    print(
        f"{given.depth} layers of {given.width}: σ_w² = {edge.weight_variance:.5f}, σ_b² = "
        f"{edge.bias_variance:.3g}, q* = {edge.length:.4f}, orthogonal: {found.is_isometric}"
    )
    ours = found.applied(start, torch.Generator().manual_seed(given.seed))
    for name, each, epochs in (
        ("torch's own", start.copied(), given.also_default),
        ("at the edge", ours, given.epochs),
    ):
        signal = Signal.of(Pass.of(each))
        first, last = signal.rows[0].gradient_norm, signal.rows[-1].gradient_norm
        print(f"{name}: gradient norm {first:.3g} at the first layer, {last:.3g} at the last")
        for line in trained(each, given.lr, given.momentum, epochs, given.seed):
            print("  " + line, flush=True)


if __name__ == "__main__":
    main()
