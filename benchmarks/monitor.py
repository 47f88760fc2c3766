"""What watching a training costs: its time with a monitor over its time without one.

    python -m benchmarks.monitor            prints the table; some minutes, on a quiet machine
    python -m benchmarks.monitor --steps 200 --rounds 2

On a machine that others use, the ratio of CPU seconds is worth more than that of seconds.
Contenders take turns in one process, each with a fresh model, optimizer and monitor on the same
batches. Beside them stand the figures that Cockpit's authors give for theirs on a CPU.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import median
from time import perf_counter, process_time

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg import Monitor, monitor
from thalweg.monitor import Cost, Instruments, Record

COCKPIT = """Cockpit (Schneider, Dangel and Hennig 2021; as measured by them, MLP on MNIST, CPU), as
multiples of the training: its economy set at every step 64, its full set at every step 262, the
largest Hessian eigenvalue alone at every step 67; the full set at every 256th step 2.03."""


@dataclass(frozen=True)
class Training:
    """What is trained.

    Args:
        name: in a few words.
        build: the model.
        shape: of an input.
        batch_size: of a step.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    batch_size: int

    def batches(self, number: int) -> list[tuple[Tensor, Tensor]]:
        """Inputs like standardised pixels, labelled by a random linear rule."""
        generator = torch.Generator().manual_seed(0)
        rule = torch.randn(math.prod(self.shape), 10, generator=generator)
        drawn = [
            torch.randn(self.batch_size, *self.shape, generator=generator) for _ in range(number)
        ]
        return [(x, (x.flatten(1) @ rule).argmax(1)) for x in drawn]


def mlp() -> nn.Module:
    """784-1000-500-100-10, DeepOBS's network for MNIST."""
    sizes = (784, 1000, 500, 100, 10)
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def cnn() -> nn.Module:
    """Two convolutions and two dense layers."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip


TRAININGS = (
    Training("MLP 784-1000-500-100-10, batch 128", mlp, (1, 28, 28), 128),
    Training("CNN of two convolutions, batch 64", cnn, (1, 28, 28), 64),
)

Watch = Callable[[nn.Module, torch.optim.Optimizer], Monitor]


def watching(make: Callable[[], Instruments], overhead: float | None = None) -> Watch:
    """A monitor of some instruments at every 16th step."""
    return lambda model, optimizer: Monitor(
        model, F.cross_entropy, optimizer, instruments=make(), every=16, overhead=overhead
    )


CONTENDERS: dict[str, Watch | None] = {
    "without": None,
    "the default (ordinary, 2 %)": lambda model, optimizer: Monitor(
        model, F.cross_entropy, optimizer
    ),
    "cheap, 2 %": watching(monitor.cheap),
    "full every 16th step, in turns (10 %)": watching(monitor.full),
    "cheap, every 16th step, unbounded": watching(monitor.cheap, math.inf),
    "full, all at every 16th step, unbounded": watching(monitor.full, math.inf),
}


@dataclass
class Times:
    """What a contender took, round by round."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    cost: Cost | None = None
    history: tuple[Record, ...] = ()


def measure(training: Training, num_steps: int, num_rounds: int) -> dict[str, Times]:
    """Every contender in turn, in rounds."""
    given = training.batches(17)  # none is met at every reading
    times = {name: Times() for name in CONTENDERS}
    for _ in range(num_rounds):
        for name, watch in CONTENDERS.items():
            torch.manual_seed(0)
            model = training.build()
            optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
            step(model, optimizer, given[0])  # warm
            watched = watch(model, optimizer) if watch else None
            start, cpu_start = perf_counter(), process_time()
            for number in range(num_steps):
                batch = given[number % len(given)]
                if watched:
                    watched.see(batch)
                step(model, optimizer, batch)
            times[name].seconds.append(perf_counter() - start)
            times[name].cpu_seconds.append(process_time() - cpu_start)
            if watched:
                watched.close()
                times[name].cost, times[name].history = watched.cost, watched.history
    return times


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
    """One step of a plain loop."""
    x, y = batch
    optimizer.zero_grad()
    F.cross_entropy(model(x), y).backward()
    optimizer.step()


def table(training: Training, times: dict[str, Times], num_steps: int) -> str:
    """The ratios, what the monitors say of themselves, and how often each instrument was read."""
    base = times["without"].seconds
    per_step = 1e3 * median(base) / num_steps
    lines = [
        f"{training.name}: {num_steps} steps of {per_step:.2f} ms",
        f"{'':42}{'ratio':>8}{'lowest':>8}{'highest':>8}{'of CPU':>8}{'own share':>11}"
        f"{'grads/step':>12}",
    ]
    for name, found in times.items():
        ratios = [mine / other for mine, other in zip(found.seconds, base, strict=True)]
        pairs = zip(found.cpu_seconds, times["without"].cpu_seconds, strict=True)
        of_cpu = median(mine / other for mine, other in pairs)
        numbers = f"{median(ratios):8.3f}{min(ratios):8.3f}{max(ratios):8.3f}{of_cpu:8.3f}"
        if found.cost is None:
            lines.append(f"{name:42}{numbers}")
            continue
        own = f"{100 * found.cost.share:9.2f} %{found.cost.gradient_share:12.3f}"
        lines.append(f"{name:42}{numbers}{own}")
        counts: dict[str, int] = {}
        for record in found.history:
            for instrument in record.instruments:
                counts[instrument] = counts.get(instrument, 0) + 1
        lines.append(f"    read: {', '.join(f'{n} {c}' for n, c in counts.items())}")
    return "\n".join(lines)


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2000, help="of each run")
    parser.add_argument("--rounds", type=int, default=3, help="of all contenders")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for training in TRAININGS:
        times = measure(training, arguments.steps, arguments.rounds)
        print(table(training, times, arguments.steps), end="\n\n", flush=True)
    print(COCKPIT)


if __name__ == "__main__":
    main()
