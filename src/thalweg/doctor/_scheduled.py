"""Scheduled: the learning rates that a schedule has in store."""

from __future__ import annotations

import warnings
from statistics import fmean

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
    rates = _rates(problem, batch_size, num_steps)
    first = max(rates[:num_seen], default=0.0)
    return max(1.0, max(rates[num_seen:]) / first) if first > 0 else 1.0


def mean_share(problem: Problem, batch_size: int, num_steps: int) -> float:
    """The mean learning rate of a training over its highest; 1 without a schedule.

    Cost: none; no step is taken.
    """
    rates = [] if problem.schedule is None else _rates(problem, batch_size, num_steps)
    return fmean(rates) / max(rates) if any(rates) else 1.0


def _rates(problem: Problem, batch_size: int, num_steps: int) -> list[float]:
    """Of each step, the highest over the groups of parameters."""
    copied = problem.copied()
    optimizer = made_optimizer(copied)
    rates = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch wants to see a step of the optimizer first
        schedule = Scheduling(copied, optimizer, batch_size)
        for _ in range(num_steps):
            rates.append(max(float(group["lr"]) for group in optimizer.param_groups))
            schedule.step()
    return rates
