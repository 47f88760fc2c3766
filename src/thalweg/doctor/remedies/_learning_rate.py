"""Another learning rate, or an optimizer that finds its own scale."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import torch
from torch import nn

from thalweg._problem import OptimizerFactory, Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy


def lr_divided(readings: Readings) -> Remedy | NotApplicable:
    """A tenth of the learning rate."""
    return _scaled(readings, 0.1)


def lr_multiplied(readings: Readings) -> Remedy | NotApplicable:
    """Ten times the learning rate."""
    return _scaled(readings, 10.0)


def lr_multiplied_more(readings: Readings) -> Remedy | NotApplicable:
    """A hundred times the learning rate."""
    return _scaled(readings, 100.0)


def lr_at_limit(readings: Readings) -> Remedy | NotApplicable:
    """Half the learning rate at which the step would turn unstable at this point."""
    name = "half the stability limit as learning rate"
    stability = readings.card.stability if readings.card else None
    if stability is None or stability.sharpness <= 0:
        return NotApplicable(name, "no stability limit is known for this optimizer here")
    # The limit is inversely proportional to the learning rate, for every rule.
    return _scaled(readings, 0.5 / stability.ratio)


def adam(readings: Readings) -> Remedy | NotApplicable:
    """Adam at its usual learning rate."""
    name = "Adam"
    probe = readings.optimizer
    if isinstance(probe, torch.optim.Adam | torch.optim.AdamW):
        return NotApplicable(name, f"{type(probe).__name__} is in use already")
    return Remedy(
        f"{name}, lr 0.001",
        "optimizer = torch.optim.Adam(model.parameters(), lr=0.001)",
        lambda problem, _: replace(
            problem, optimizer=lambda params: torch.optim.Adam(params, lr=1e-3)
        ),
        changes_step=True,
    )


def slower(remedy: Remedy, readings: Readings) -> Remedy:
    """A remedy for the network, together with a tenth of the learning rate."""
    step = _scaled(readings, 0.1)
    return Remedy(
        f"{remedy.name}, {step.name}",
        f"{remedy.code}\n{step.code}",
        lambda problem, generator: step.apply(remedy.apply(problem, generator), generator),
        changes_step=True,
    )


def _scaled(readings: Readings, factor: float) -> Remedy:
    optimizer = readings.optimizer
    lr = float(optimizer.param_groups[0]["lr"]) * factor
    original = readings.problem.optimizer
    assert original is not None, "trials have an optimizer"

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        return replace(problem, optimizer=_with_factor(original, factor))

    return Remedy(
        f"learning rate {lr:.3g}",
        f"optimizer = torch.optim.{type(optimizer).__name__}(model.parameters(), lr={lr:.3g}, ...)",
        apply,
        changes_step=True,
    )


def _with_factor(original: OptimizerFactory, factor: float) -> OptimizerFactory:
    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = original(params)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor
        return optimizer

    return made
