"""Batch normalisation after every hidden layer."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy
from thalweg.doctor.remedies._surgery import put
from thalweg.passes import LayerPass

NAME = "batch normalisation"

Norm = type[nn.BatchNorm1d] | type[nn.BatchNorm2d] | type[nn.BatchNorm3d]

_NORMS: dict[type[nn.Module], Norm] = {
    nn.Linear: nn.BatchNorm1d,
    nn.Conv1d: nn.BatchNorm1d,
    nn.Conv2d: nn.BatchNorm2d,
    nn.Conv3d: nn.BatchNorm3d,
}


def batch_norm(readings: Readings) -> Remedy | NotApplicable:
    """Normalises what every hidden dense or convolutional layer returns."""
    model = readings.problem.model
    modules = dict(model.named_modules())
    if any(isinstance(module, nn.modules.batchnorm._NormBase) for module in modules.values()):
        return NotApplicable(NAME, "the network is normalised already")
    if readings.plan.batch_size < 2:
        return NotApplicable(NAME, "batches of one sample have no statistics")
    fed = {a.layer for a in readings.passed.activations}
    hidden = [
        layer.name
        for index, layer in enumerate(readings.passed.layers[:-1])
        if index in fed and _is_fit(modules.get(layer.name), layer)
    ]
    if not hidden:
        return NotApplicable(NAME, "no dense or convolutional layer is followed by an activation")

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        for name in hidden:
            layer = problem.model.get_submodule(name)
            weight = layer.get_parameter("weight")
            norm = _NORMS[type(layer)](weight.shape[0]).to(weight.device, weight.dtype)
            put(problem.model, layer, nn.Sequential(layer, norm))
        return problem

    return Remedy(NAME, _code({name: _NORMS[type(modules[name])] for name in hidden}), apply)


def _is_fit(module: nn.Module | None, layer: LayerPass) -> bool:
    """Whether a norm suits it; a dense layer over sequences keeps its units where none looks."""
    if isinstance(module, nn.Linear) and layer.num_units != module.out_features:
        return False
    return type(module) in _NORMS


def _code(norms: Mapping[str, Norm]) -> str:
    lines = ["# after each of these layers, before its activation"]
    for norm in dict.fromkeys(norms.values()):
        names = [name for name, each in norms.items() if each is norm]
        lines += [
            f"for name in {names}:",
            "    layer = model.get_submodule(name)",
            f"    norm = nn.{norm.__name__}(layer.weight.shape[0])",
            "    model.set_submodule(name, nn.Sequential(layer, norm))",
        ]
    return "\n".join(lines)
