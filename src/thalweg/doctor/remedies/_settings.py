"""Settings of the optimizer back to what is usual, and less dropout."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from thalweg._problem import OptimizerFactory, Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

SHORT = 0.95
"""β₂ of the shortest averages that are usual, of 20 steps."""

LITTLE = 0.1
"""Dropout that hardly any network minds."""


def no_weight_decay(readings: Readings) -> Remedy | NotApplicable:
    """Weight decay off."""
    groups = readings.optimizer.param_groups
    if not any(group.get("weight_decay") for group in groups):
        return NotApplicable("no weight decay", "there is none")
    return _set(readings, "no weight decay", {"weight_decay": 0.0})


def usual_momentum(readings: Readings) -> Remedy | NotApplicable:
    """Momentum, or β₁ of Adam, of 0.9; with β₂ 0.999 where β₁ is not below √β₂, and that is short.

    Momentum of 0.9 still makes steps ten times as long as the rate says. A rate that was meant
    without any is too large for it: then momentum is left out.

    Source: Zou et al. 2019, "A sufficient condition for convergences of Adam and RMSProp", for
    β₁ < √β₂.
    """
    group = readings.optimizer.param_groups[0]
    if "betas" in group:
        if float(group["betas"][0]) <= 0.9:
            return NotApplicable("momentum 0.9", "β₁ is no higher already")
        beta, other = map(float, group["betas"])
        if other < SHORT and beta**2 >= other:
            return _set(readings, "β₁ 0.9, β₂ 0.999", {"betas": (0.9, 0.999)})
        return _set(readings, "β₁ 0.9", {"betas": (0.9, other)})
    if float(group.get("momentum") or 0.0) <= 0.9:
        return NotApplicable("momentum 0.9", "it is no higher already")
    # Nesterov's step is none without it.
    nesterov = {"nesterov": False} if group.get("nesterov") else {}
    without = _set(readings, "no momentum", {"momentum": 0.0, **nesterov})
    if isinstance(readings.optimizer, torch.optim.RMSprop):
        return without
    return replace(_set(readings, "momentum 0.9", {"momentum": 0.9}), thorough=without)


def usual_epsilon(readings: Readings) -> Remedy | NotApplicable:
    """ε of 1e-8, torch's own."""
    eps = readings.optimizer.param_groups[0].get("eps")
    if eps is None or float(eps) <= 1e-8:
        return NotApplicable("ε 1e-8", "it is no larger already")
    return _set(readings, "ε 1e-8", {"eps": 1e-8})


def _set(readings: Readings, name: str, settings: Mapping[str, Any]) -> Remedy:
    original = readings.problem.optimizer
    assert original is not None, "trials have an optimizer"
    code = "\n".join(f'    group["{key}"] = {value!r}' for key, value in settings.items())
    return Remedy(
        name,
        f"for group in optimizer.param_groups:  # or where it is made\n{code}",
        lambda problem, _: replace(problem, optimizer=_with(original, settings)),
        changes_step=True,
        is_direct=True,
    )


def _with(original: OptimizerFactory, settings: Mapping[str, Any]) -> OptimizerFactory:
    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = original(params)
        for group in optimizer.param_groups:
            group.update(settings)
        return optimizer

    return made


def less_dropout(readings: Readings) -> Remedy | NotApplicable:
    """Dropout of a tenth, wherever it is more."""
    name = f"dropout {LITTLE:g}"
    found = [
        n for n, m in readings.problem.model.named_modules()
        if isinstance(m, _DropoutNd) and m.p > LITTLE
    ]  # fmt: skip
    if not found:
        return NotApplicable(name, "no module drops more than that")

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        for each in found:
            module: Any = problem.model.get_submodule(each)
            module.p = LITTLE
        return problem

    listed = ", ".join(f'"{each}"' for each in found)
    return Remedy(
        name,
        f"for name in [{listed}]:\n    model.get_submodule(name).p = {LITTLE:g}",
        apply,
        is_direct=True,
    )
