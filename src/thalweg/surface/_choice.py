"""The choice of a route, by trying two on a small part of the data."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import sqrt
from time import perf_counter, thread_time

import torch
from torch import Tensor

from thalweg._errors import UntapedError
from thalweg.surface._route import (
    BatchProduct,
    RetainedGraph,
    Route,
    Taped,
    Task,
    norm,
    taped,
)
from thalweg.tape import library_of

MIN_PROBED_BYTES = 2**19
"""Below this the passes of a problem are too short to time, and a kept graph is as good as any."""

CLOSE = 0.8
"""A tape that takes more than this share of the time of the graph is measured again."""

SHORT, MOST_REPEATS = 2e-2, 3
"""Runs of fewer seconds are easily disturbed, and measured up to so often; others once."""

EVEN = 1.1
"""On a part of a batch a tape that takes up to so much longer counts as even, and is taken: by so
much do these runs differ. That of a transformer took 0.89 to 1.14 of the graph's time on a part,
and 0.86 of it on the whole.
"""


@dataclass(frozen=True)
class Chosen(Route):
    """A route with the measurements that it was chosen by.

    Args:
        route: the one taken.
        ratio: time of a product on the tape over that on the retained graph; NaN where no tape
            could be made.
        deviation: ‖difference‖/‖product‖ of the two, for the parameter where it is largest.
        reason: the choice in words.
    """

    route: Route
    ratio: float
    deviation: float
    reason: str

    @property
    def said(self) -> str:
        """The route in words."""
        return f"{self.route.said} ({self.reason})"

    def guarding(self) -> AbstractContextManager[None]:
        """As the route taken."""
        return self.route.guarding()

    def build(self, task: Task) -> BatchProduct:
        """As the route taken."""
        return self.route.build(task)


def choose(task: Task, is_part: bool = False) -> Route:
    """Builds the product by a tape and by a retained graph, compares their values and their times.

    The tape is taken where it is faster, or even on a part of a batch, and gives what autograd
    gives.

    Args:
        task: the product to try.
        is_part: its batch is only a part of the one whose products are wanted.
    """
    plain = RetainedGraph()
    graph = plain.build(task)
    generator = torch.Generator().manual_seed(0)
    v = tuple(_signs(leaf, generator) for leaf in task.leaves().values())
    expected, of_graph = _timed(graph, v)
    try:
        tape = taped(task)
        found, of_tape = _timed(tape, v)
    except (UntapedError, RuntimeError) as error:
        return Chosen(plain, float("nan"), float("nan"), f"no tape: {_first_line(error)}")
    deviation = _deviation(expected, found)
    # What sums in another order may differ by; a wrong derivative differs by far more.
    if not deviation <= torch.finfo(v[0].dtype).eps ** 0.5:
        return Chosen(
            plain, float("nan"), deviation, f"a tape came out otherwise, by {deviation:.1g}"
        )
    ratio = of_tape / of_graph
    # One run of each tells where the tape is the faster one by far. Otherwise of several the
    # shortest: whatever disturbs a run makes it longer, and a process new to tapes is disturbed.
    for _ in range(MOST_REPEATS if of_graph < SHORT else 1):
        if ratio <= CLOSE:
            break
        of_tape, of_graph = min(of_tape, _timed(tape, v)[1]), min(of_graph, _timed(graph, v)[1])
        ratio = of_tape / of_graph
    said = f"{ratio:.2f} × the time of a retained graph, equal to {deviation:.1g}"
    if ratio >= (EVEN if is_part else 1.0):
        return Chosen(plain, ratio, deviation, f"tape: {said}")
    if ratio >= 1:
        said += ", even on a part of a batch"
    library = library_of(v[0])
    return Chosen(Taped(), ratio, deviation, f"tape: {said}{'; ' if library else ''}{library}")


def _deviation(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The largest ‖difference‖/‖product‖ of any parameter, so that no small one hides an error.

    A parameter whose part is nearly zero is measured by 30 √ε of the whole product: what it differs
    by is then rounding of the whole.
    """
    whole = max(norm(expected), norm(found))
    floor = 30 * sqrt(torch.finfo(expected[0].dtype).eps) * whole
    if not whole > 0:
        return 0.0
    return max(
        norm((a - b,)) / max(norm((a,)), norm((b,)), floor)
        for a, b in zip(expected, found, strict=True)
    )


def _timed(product: BatchProduct, v: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], float]:
    """A product, and the seconds that it took."""
    # On the CPU only time of this thread counts, so that its neighbours decide little.
    clock = perf_counter if v[0].is_cuda else thread_time
    _synchronise(v[0])
    start = clock()
    found = product(v)
    _synchronise(v[0])
    return found, clock() - start


def _synchronise(tensor: Tensor) -> None:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)


def _signs(leaf: Tensor, generator: torch.Generator) -> Tensor:
    bits = torch.randint(2, leaf.shape, generator=generator)
    return (2 * bits - 1).to(leaf.device, leaf.dtype)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]
