"""What a step of saddle-free Newton costs beside passes and products: `… benchmarks.step_overhead`.

`python -m benchmarks.step_overhead` runs the default on the problems of the race and adds up the
time spent in the model: gradients with their tapes, products, forward passes; of a step from
residuals the Jacobian with its kernel, which stands for all products. The rest is overhead: the
subspace, the metric with its passes and decompositions, factorisations, the tuning, the record.
Processor seconds of one thread. Wanted: at most 20 % of the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import thread_time
from typing import Any

import torch

from benchmarks.networks import NETWORKS, build
from benchmarks.race.tasks import TASKS
from thalweg import Problem
from thalweg.optim import ProblemObjective, SaddleFreeNewton, _saddle_free_newton
from thalweg.optim._residual_space import residual_space


class Clock:
    """Seconds spent inside of what it wraps."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            start = thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds += thread_time() - start

        return timed


def shares(problem: Problem, steps: int) -> tuple[float, float]:
    """Seconds of all steps, and the share of it that was spent outside of the model."""
    clock = Clock()
    value, local, slope = ProblemObjective.value, ProblemObjective.local, ProblemObjective.slope
    optimizer = SaddleFreeNewton(problem.model.parameters()).bind(problem)

    def local_timed(self: ProblemObjective, *args: Any) -> Any:
        found = local(self, *args)
        product = found.product and clock.around(found.product)
        return replace(found, product=product)

    _saddle_free_newton.residual_space = clock.around(residual_space)
    ProblemObjective.value = clock.around(value)  # type: ignore[method-assign]
    ProblemObjective.local = clock.around(local_timed)  # type: ignore[method-assign]
    ProblemObjective.slope = clock.around(slope)  # type: ignore[method-assign]
    try:
        optimizer.step()  # the first one warms up
        clock.seconds, start = 0.0, thread_time()
        for _ in range(steps):
            optimizer.step()
        whole = thread_time() - start
    finally:
        ProblemObjective.value, ProblemObjective.local = value, local  # type: ignore[method-assign]
        ProblemObjective.slope = slope  # type: ignore[method-assign]
        _saddle_free_newton.residual_space = residual_space
    return whole, 1 - clock.seconds / whole


def main() -> None:
    """Prints a line a problem."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_overhead")
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    problems = {name: lambda task=task: task.make(0) for name, task in TASKS.items()}
    problems |= {name: lambda name=name: build(name, torch.float32).problem() for name in NETWORKS}
    print(f"{'problem':<8} {'parameters':>10} {'ms a step':>10} {'overhead':>9}")
    for name, make in problems.items():
        problem = make()
        n = sum(p.numel() for p in problem.parameters.values())
        whole, share = shares(problem, asked.steps)
        print(f"{name:<8} {n:>10,} {1000 * whole / asked.steps:>10.1f} {share:>9.1%}", flush=True)


if __name__ == "__main__":
    main()
