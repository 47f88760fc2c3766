"""Scheduled: the learning rates that a schedule has in store."""

from __future__ import annotations

import warnings

from thalweg._problem import Problem
from thalweg._recipe import Scheduling
from thalweg.doctor._trial import made_optimizer


def yet_to_rise(problem: Problem, batch_size: int, num_seen: int, num_steps: int) -> float:
    """The highest learning rate of a training over the highest of its first steps.

    1 where the schedule does not raise it any more, or there is none.

    Cost: none; no step is taken.
    """
    if problem.schedule is None or num_seen >= num_steps:
        return 1.0
    copied = problem.copied()
    optimizer = made_optimizer(copied)
    highest = [0.0, 0.0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants to see a step of the optimizer first
        schedule = Scheduling(copied, optimizer, batch_size)
        for step in range(num_steps):
            rate = max(float(group["lr"]) for group in optimizer.param_groups)
            part = int(step >= num_seen)
            highest[part] = max(highest[part], rate)
            schedule.step()
    return max(1.0, highest[1] / highest[0]) if highest[0] > 0 else 1.0
