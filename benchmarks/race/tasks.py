"""What is raced for: the problems, the losses to reach, and how long a run may take."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from thalweg import Problem, problems


@dataclass(frozen=True)
class Task:
    """A problem with its targets.

    Args:
        name: its label.
        make: from a seed to the problem with the initialisation of that seed.
        targets: training losses, the strictest last.
        seconds: wall time after which a run ends.
        wanted: the ratio of our time to the best peer's that is wanted, by target; None where the
            peers are not expected to arrive.
    """

    name: str
    make: Callable[[int], Problem]
    targets: tuple[float, ...]
    seconds: float
    wanted: tuple[float | None, ...]


TASKS = {
    task.name: task
    for task in (
        Task("P1", problems.tanh_digits, (1e-6,), 10.0, (3.0,)),
        Task("P1s", problems.tanh_digits_at_the_saddle, (1e-6,), 10.0, (2.0,)),
        Task("P1n", problems.noisy_digits, (1e-6,), 40.0, (1 / 3,)),
        Task("P2", problems.deep_tanh_digits, (1e-4,), 20.0, (1.2,)),
        Task("P2h", problems.vanishing_tanh_digits, (1e-2,), 20.0, (2.0,)),
        Task("P4", problems.stiff_regression, (1e-8, 1e-10), 60.0, (1 / 10, None)),
    )
}
