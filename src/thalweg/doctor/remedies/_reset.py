"""Weights drawn anew as torch draws them, whatever the layer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy


def reset(readings: Readings) -> Remedy | NotApplicable:
    """reset_parameters() of every layer that is not frozen."""
    name = "torch's own initialisation"
    model = readings.problem.model
    found = [n for n, m in model.named_modules() if _can_reset(m)]
    if not found:
        return NotApplicable(name, "no layer can draw its own weights")

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        with torch.random.fork_rng(devices=[]):
            # Layers draw from the global state, which the generator decides.
            torch.manual_seed(int(torch.randint(2**31, (), generator=generator)))
            for each in found:
                drawing = _drawing(problem.model.get_submodule(each))
                assert drawing is not None, "it was found to draw its weights"
                drawing()
        return problem

    code = (
        "for module in model.modules():\n"
        "    own = list(module.parameters(recurse=False))\n"
        "    is_trained = own and all(p.requires_grad for p in own)\n"
        "    for name in ('reset_parameters', '_reset_parameters'):  # of attention\n"
        "        if is_trained and hasattr(module, name):\n"
        "            getattr(module, name)()"
    )
    return Remedy(name, code, apply)


def _can_reset(module: nn.Module) -> bool:
    own = list(module.parameters(recurse=False))
    is_trained = bool(own) and all(p.requires_grad for p in own)
    return is_trained and _drawing(module) is not None


def _drawing(module: nn.Module) -> Callable[[], Any] | None:
    """What draws a layer's own weights; torch's attention calls it otherwise than all others."""
    names = ("reset_parameters", "_reset_parameters")
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)
