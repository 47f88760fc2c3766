"""What a step of saddle-free Newton costs beside passes and products: `… benchmarks.step_overhead`.

`python -m benchmarks.step_overhead` runs the default on the problems of the race and adds up the
time spent in the model: gradients with their tapes, products, forward passes; of a step from
residuals the Jacobian with its kernel, and the products with its transpose. The rest is overhead:
the subspace, the metric's decompositions, factorisations, the tuning, the record. The metric reads
the model by passes of its own; the last column counts those as overhead as well. Processor seconds
of one thread. Wanted: at most 20 % of the whole.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import thread_time
from typing import Any
from unittest import mock

import torch

from benchmarks.networks import NETWORKS, build
from benchmarks.race.tasks import TASKS
from thalweg import Problem
from thalweg.optim import KFAC, ProblemObjective, SaddleFreeNewton, _saddle_free_newton
from thalweg.optim._residual_space import ResidualSpace


class Clock:
    """Seconds spent inside of what it wraps, the innermost counted once."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_running = False

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed."""

        def timed(*args: Any, **kwargs: Any) -> Any:
            if self._is_running:
                return work(*args, **kwargs)
            self._is_running, start = True, thread_time()
            try:
                return work(*args, **kwargs)
            finally:
                self.seconds += thread_time() - start
                self._is_running = False

        return timed


def shares(problem: Problem, steps: int) -> tuple[float, float, float]:
    """Seconds of all steps, their overhead as a share, and that with the metric's passes."""
    clock, of_metric = Clock(), Clock()
    optimizer = SaddleFreeNewton(problem.model.parameters()).bind(problem)
    local, refresh = ProblemObjective.local, KFAC.refresh

    def local_timed(self: ProblemObjective, *args: Any) -> Any:
        found = local(self, *args)
        product = found.product and clock.around(found.product)
        return replace(found, product=product)

    def refresh_timed(self: KFAC, *args: Any) -> None:
        with (
            mock.patch.object(torch.autograd, "grad", of_metric.around(torch.autograd.grad)),
            mock.patch.object(ProblemObjective, "forward", of_metric.around(forward)),
        ):
            refresh(self, *args)

    forward = ProblemObjective.forward
    pulled, space = ResidualSpace.pulled, _saddle_free_newton.residual_space
    value, slope = ProblemObjective.value, ProblemObjective.slope
    with (
        mock.patch.object(_saddle_free_newton, "residual_space", clock.around(space)),
        mock.patch.object(ResidualSpace, "pulled", clock.around(pulled)),
        mock.patch.object(ProblemObjective, "value", clock.around(value)),
        mock.patch.object(ProblemObjective, "local", clock.around(local_timed)),
        mock.patch.object(ProblemObjective, "slope", clock.around(slope)),
        mock.patch.object(KFAC, "refresh", refresh_timed),
    ):
        optimizer.step()  # the first one warms up
        clock.seconds, of_metric.seconds, start = 0.0, 0.0, thread_time()
        for _ in range(steps):
            optimizer.step()
        whole = thread_time() - start
    outside = 1 - clock.seconds / whole
    return whole, outside - of_metric.seconds / whole, outside


def main() -> None:
    """Prints a line a problem."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.step_overhead")
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    problems = {name: lambda task=task: task.make(0) for name, task in TASKS.items()}
    problems |= {name: lambda name=name: build(name, torch.float32).problem() for name in NETWORKS}
    heads = f"{'overhead':>9} {'with the metric':>16}"
    print(f"{'problem':<8} {'parameters':>10} {'ms a step':>10} {heads}")
    for name, make in problems.items():
        problem = make()
        n = sum(p.numel() for p in problem.parameters.values())
        whole, *found = shares(problem, asked.steps)
        told = f"{found[0]:>9.1%} {found[1]:>16.1%}"
        print(f"{name:<8} {n:>10,} {1000 * whole / asked.steps:>10.1f} {told}", flush=True)


if __name__ == "__main__":
    main()
