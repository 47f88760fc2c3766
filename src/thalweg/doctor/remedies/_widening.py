"""Layers so narrow that they lose what is needed, made wider."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "the narrow layer widened"


def widened(readings: Readings) -> Remedy | NotApplicable:
    """Gives the narrowest hidden dense layer as many units as its narrower neighbour."""
    dense = [(n, m) for n, m in readings.problem.model.named_modules() if isinstance(m, nn.Linear)]
    chained = [
        (one, other) for one, other in pairwise(dense)
        if one[1].out_features == other[1].in_features
    ]  # fmt: skip
    if not chained:
        return NotApplicable(NAME, "no two dense layers follow one another")
    (before, layer), (after, following) = min(chained, key=lambda c: c[0][1].out_features)
    narrow, wide = layer.out_features, min(layer.in_features, following.out_features)
    hidden = [m.out_features for _, m in dense[:-1]]
    wide = max(wide, sorted(hidden)[len(hidden) // 2])
    if wide <= narrow:
        return NotApplicable(NAME, f"no layer is narrower than its neighbours, {narrow} units")
    between = _between(readings.problem.model, before, after)
    if any(isinstance(m, nn.modules.batchnorm._NormBase | nn.LayerNorm) for m in between):
        return NotApplicable(NAME, "a normalisation of that width stands between the layers")

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        for name, old, new in (
            (before, layer, nn.Linear(layer.in_features, wide, layer.bias is not None)),
            (after, following, nn.Linear(wide, following.out_features, following.bias is not None)),
        ):
            _drawn_alike(new, old, generator)
            problem.model.set_submodule(name, new.to(layer.weight))
        return problem

    return Remedy(
        f"{NAME}, {narrow} to {wide} units",
        f'model.set_submodule("{before}", nn.Linear({layer.in_features}, {wide}))\n'
        f'model.set_submodule("{after}", nn.Linear({wide}, {following.out_features}))',
        apply,
        is_direct=True,
    )


def _drawn_alike(new: nn.Linear, old: nn.Linear, generator: torch.Generator) -> None:
    """Weights as large as theirs were for their number of inputs, fan_in · Var(W) being kept."""
    size = float(old.weight.detach().double().square().mean() * old.in_features) ** 0.5
    with torch.no_grad():
        drawn = torch.randn(new.weight.shape, generator=generator)
        new.weight.copy_(size / new.in_features**0.5 * drawn)
        if new.bias is not None and old.bias is not None:
            new.bias.fill_(float(old.bias.detach().mean()))


def _between(model: nn.Module, before: str, after: str) -> list[nn.Module]:
    modules = list(model.named_modules())
    names = [name for name, _ in modules]
    return [module for _, module in modules[names.index(before) + 1 : names.index(after)]]
