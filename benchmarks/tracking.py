"""Tracking: λ_max along training, as a multiple of the plain training step."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

import thalweg
from benchmarks.clock import seconds_of
from benchmarks.exact import RetainedGraph
from benchmarks.line import OURS, REFERENCE, complaint
from benchmarks.networks import Network
from benchmarks.peers import own_copy
from benchmarks.stage import Stage

QUANTITY = "λ_max at every step of training, time over the plain step"
SPARSE = "λ_max at every 16th step of training, time over the plain step"
ALLOWED = 0.01
LR = 0.05

Gradient = dict[str, Tensor]
Reader = Callable[[], tuple[float, Gradient | None]]
"""λ_max where the model is now, and the gradient there if the reading hands it out."""


def tracker(network: Network) -> Reader:
    """The warm-started reading."""
    read = sharing_tracker(network)
    return lambda: (read()[0], None)


def sharing_tracker(network: Network) -> Reader:
    """The same, and the gradient that a measurement comes with, which the step then takes."""
    warm = thalweg.curvature.SharpnessTracker(
        network.problem(), tol=ALLOWED, generator=torch.Generator().manual_seed(0)
    )
    return lambda: (float(warm.read().value), warm.gradient)


def from_scratch(network: Network) -> Reader:
    """A new run of `extremes` at every reading."""

    def read() -> tuple[float, None]:
        op = thalweg.Surface(network.problem()).here().hessian()
        generator = torch.Generator().manual_seed(0)
        found = thalweg.linalg.extremes(op, tol=ALLOWED, generator=generator)
        return float(found.top.values[0]), None

    return read


def measure(stage: Stage) -> None:
    """Trains with plain gradient descent, on the whole batch, and reads on the way.

    One of ours leaves the training step as it is. The other hands the step the gradient that a
    measurement comes with, as one does who reads on the batch that is trained on.

    Error: the worst |λ − λ_max|/λ_max at a sample of the steps, λ_max by float64 Lanczos on the
    retained graph to 1e-6.
    """
    # At every 16th step there is no mean in fewer than 64: three readings after the first.
    for quantity, every, steps in ((QUANTITY, 1, 32 if stage.is_quick else 64), (SPARSE, 16, 64)):
        for name, role, make in (
            ("thalweg, warm start", OURS, tracker),
            ("thalweg, warm start, its gradient is the step's", OURS, sharing_tracker),
            ("thalweg, from scratch each time", REFERENCE, from_scratch),
        ):
            try:
                ratio, worst, share = run(stage, make, every, steps)
                stage.add(
                    quantity, name, role, cost=ratio, error=worst, allowed=ALLOWED,
                    repeats=share, setting=f"plain gradient descent, lr={LR}",
                )  # fmt: skip
            except Exception as error:
                stage.add(quantity, name, role, note=complaint(error))


def run(
    stage: Stage, make: Callable[[Network], Reader], every: int, steps: int
) -> tuple[float, float, int]:
    """(Mean time a step over median plain step, worst error, steps taken)."""
    network, plain_network = own_copy(stage.network), own_copy(stage.network)
    read = make(network)
    plain: list[float] = []
    readings: dict[int, tuple[float, dict[str, Any]]] = {}
    beside = 0.0
    for step in range(steps):
        # A twin that is trained without readings, so that all steps meet the same neighbours.
        usual = seconds_of(lambda: train(plain_network))
        plain.append(usual)
        start, gradient = time.perf_counter(), None
        if step % every == 0:
            state = copy.deepcopy(network.model.state_dict())
            start = time.perf_counter()
            value, gradient = read()
            readings[step] = value, state
        train(network, gradient)
        # The first reading has no start to be warm from.
        beside += (time.perf_counter() - start) - usual if step and step % every == 0 else 0.0
    later = steps - every
    sample = list(readings)[:: max(1, len(readings) // 4)]
    worst = max(abs(readings[s][0] / exact_largest(network, readings[s][1]) - 1) for s in sample)
    return 1 + beside / later / median(plain), worst, steps


def train(network: Network, gradient: Gradient | None = None) -> None:
    """One plain step of gradient descent, along a gradient that is there, if one is."""
    if gradient is None:
        network.gradient_step()
    with torch.no_grad():
        for name, p in network.model.named_parameters():
            p -= LR * (p.grad if gradient is None else gradient[name])


def exact_largest(network: Network, state: dict[str, Any]) -> float:
    """λ_max in float64, by Lanczos with full reorthogonalisation until it stands still."""
    model: nn.Module = copy.deepcopy(network.model)
    model.load_state_dict(state)
    inputs = network.inputs.double() if network.inputs.is_floating_point() else network.inputs
    targets = network.targets
    targets = targets.double() if targets.is_floating_point() else targets
    graph = RetainedGraph(Network("", "", model.double(), network.loss, inputs, targets))
    *_, last = ritz_values(graph)
    return last


def ritz_values(graph: RetainedGraph) -> Iterator[float]:
    """The largest Ritz value after each step, until it is found."""
    generator = torch.Generator().manual_seed(7)
    v = torch.randn(graph.size, generator=generator, dtype=torch.float64)
    Q = (v / v.norm())[None]
    T = torch.zeros(200, 200, dtype=torch.float64)
    for k in range(199):
        w = graph.hessian(Q[-1])
        T[k, k] = w @ Q[-1]
        w = w - (Q @ w) @ Q
        w = w - (Q @ w) @ Q
        T[k, k + 1] = T[k + 1, k] = w.norm()
        theta, s = torch.linalg.eigh(T[: k + 1, : k + 1])
        yield float(theta[-1])
        if w.norm() * s[-1, -1].abs() <= 1e-6 * theta.abs().max():
            return
        Q = torch.cat([Q, (w / w.norm())[None]])
