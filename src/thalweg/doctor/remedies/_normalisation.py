"""Batch normalisation after every hidden layer."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "batch normalisation"

_NORMS: dict[type[nn.Module], Callable[[int], nn.Module]] = {
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
        if index in fed and type(modules.get(layer.name)) in _NORMS
    ]
    if not hidden:
        return NotApplicable(NAME, "no dense or convolutional layer is followed by an activation")

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        for name in hidden:
            layer = problem.model.get_submodule(name)
            weight = layer.get_parameter("weight")
            norm = _NORMS[type(layer)](weight.shape[0]).to(weight.device, weight.dtype)
            problem.model.set_submodule(name, nn.Sequential(layer, norm))
        return problem

    kinds = sorted({type(_NORMS[type(modules[name])](1)).__name__ for name in hidden})
    return Remedy(
        NAME,
        f"""\
# after each of the layers {", ".join(hidden)}, before its activation:
nn.{" / nn.".join(kinds)}(layer.weight.shape[0])""",
        apply,
    )
