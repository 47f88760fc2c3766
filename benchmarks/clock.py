"""Times in gradients: every contender in turn with one plain gradient, in one process."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

# A sample shorter than this is mostly the clock and the scheduler.
SHORTEST_SECONDS = 0.004
MOST_ROUNDS = 60


@dataclass(frozen=True)
class Cost:
    """Median time over the median time of the gradients between.

    Args:
        gradients: that ratio.
        seconds: the median time itself.
        repeats: samples of it.
    """

    gradients: float
    seconds: float
    repeats: int


def seconds_of(call: Callable[[], Any], times: int = 1) -> float:
    """Time of one call, averaged over `times`."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def in_alternation(
    contenders: dict[str, Callable[[], Any]],
    gradient: Callable[[], Any],
    first: dict[str, float],
    budget: float,
) -> dict[str, Cost]:
    """Costs of all contenders, in rounds of (gradient, contender) for each.

    The rounds take about `budget` seconds.

    All share their rounds, so that what else the machine does meets all alike. `first` has the
    seconds of a call of each, which warmed it up and does not count.
    """
    gradient()
    one = min(seconds_of(gradient) for _ in range(2))
    times = {name: max(1, math.ceil(SHORTEST_SECONDS / max(s, 1e-7))) for name, s in first.items()}
    of_gradient = max(1, math.ceil(SHORTEST_SECONDS / max(one, 1e-7)))
    a_round = sum(first[n] * times[n] + one * of_gradient for n in contenders)
    # One round that is longer than the budget is all there is time for.
    least = 1 if a_round > budget else 2
    rounds = min(MOST_ROUNDS, max(least, int(budget / max(a_round, 1e-6))))
    samples: dict[str, list[float]] = {name: [] for name in contenders}
    units: dict[str, list[float]] = {name: [] for name in contenders}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, call in contenders.items():
                units[name].append(seconds_of(gradient, of_gradient))
                samples[name].append(seconds_of(call, times[name]))
    finally:
        gc.enable()
    everything = median([u for name in contenders for u in units[name]]) if contenders else 1.0
    return {n: Cost(median(s) / everything, median(s), rounds) for n, s in samples.items()}


def around(
    call: Callable[[], Any], gradient: Callable[[], Any], budget: float, most: int = 20
) -> tuple[Any, Cost]:
    """Result and cost of a long run, with gradients timed before and after each repeat of it."""
    gradient()
    one = seconds_of(gradient)
    of_gradient = max(2, min(200, math.ceil(0.2 / max(one, 1e-7))))
    units, samples = [seconds_of(gradient, of_gradient)], []
    spent = 0.0
    while True:
        start = time.perf_counter()
        result = call()
        samples.append(time.perf_counter() - start)
        units.append(seconds_of(gradient, of_gradient))
        spent += samples[-1] + of_gradient * units[-1]
        if len(samples) >= most or spent + median(samples) > budget:
            return result, Cost(median(samples) / median(units), median(samples), len(samples))
