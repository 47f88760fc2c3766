"""A learning rate that falls to zero over the training."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch.optim.lr_scheduler import CosineAnnealingLR

from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy


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
