"""A learning rate that falls to zero over the training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from thalweg.doctor._readings import Readings
from thalweg.doctor._scheduled import mean_share
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

FADED = 0.1
"""Of its highest, the mean rate of a training below which its schedule ends it early: of a cosine
it is a half, of a rate that is cut to a tenth after each third, 0.37."""


def kept_rate(readings: Readings) -> Remedy | NotApplicable:
    """The highest rate throughout, where the schedule takes it away before much is learned."""
    name = "the learning rate kept, without its schedule"
    problem = readings.problem
    if problem.schedule is None:
        return NotApplicable(name, "there is no schedule")
    share = mean_share(problem, readings.plan.batch_size, readings.total_steps)
    if share > FADED:
        return NotApplicable(name, f"over the training it is {share:.0%} of its highest")
    return Remedy(
        name,
        "# schedule.step() taken out, or a schedule as long as the training",
        lambda problem, _: replace(problem, schedule=None),
        changes_step=True,
        is_direct=True,
    )


def cosine(readings: Readings) -> Remedy | NotApplicable:
    """A cosine schedule over their epochs."""
    name = "learning rate on a cosine"
    problem = readings.problem
    if problem.schedule is not None:
        return NotApplicable(name, "there is a schedule already")
    if problem.epochs is None:
        return NotApplicable(name, "Problem(..., epochs=...) is not known")
    epochs = problem.epochs

    def made(optimizer: torch.optim.Optimizer) -> CosineAnnealingLR:
        return CosineAnnealingLR(optimizer, epochs)

    return Remedy(
        name,
        f"schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, {epochs})\n"
        f"# schedule.step() after every epoch",
        lambda problem, _: replace(problem, schedule=made),
        changes_step=True,
    )
