"""Initialisation at the edge of chaos: the weights' variance at which gradients keep their size."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import sqrt

import torch
from torch import nn

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy
from thalweg.passes import Pass
from thalweg.signal import critical_weight_variance

NAME = "initialisation at the edge of chaos"


def edge_of_chaos(readings: Readings) -> Remedy | NotApplicable:
    """Draws every weight matrix anew with the σ_w² at which χ = 1 for the network's activations."""
    functions = {a.function_name: a.function for a in readings.passed.activations}
    if not functions:
        return NotApplicable(NAME, "the network has no activation function that torch names")
    try:
        variances = {name: critical_weight_variance(phi) for name, phi in functions.items()}
    except ThalwegError as error:
        return NotApplicable(NAME, str(error))
    listed = ", ".join(f"{name}: {variance:.4g}" for name, variance in variances.items())
    variance = next(iter(variances.values()))
    return Remedy(
        f"{NAME} (σ_w² = {listed})",
        f"""\
for layer in model.modules():
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        fan_in = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=({variance:.4g} / fan_in) ** 0.5)
        nn.init.zeros_(layer.bias)""",
        lambda problem, generator: reinitialised(
            problem, readings.passed, lambda function_name: variances[function_name], generator
        ),
    )


def reinitialised(
    problem: Problem,
    passed: Pass,
    variance_after: Callable[[str], float],
    generator: torch.Generator,
    renamed: Mapping[str, str] | None = None,
) -> Problem:
    """Draws the weights of every dense and convolutional layer anew, and zeroes the biases.

    W ~ N(0, σ_w²/fan_in), with σ_w² by the activation that feeds the layer; the first layer brings
    the data to unit length.

    Args:
        problem: its model is changed.
        passed: says which activation feeds which layer.
        variance_after: σ_w² of a layer fed by an activation, by the function's name.
        generator: draws the weights.
        renamed: new names of layers that were wrapped.
    """
    modules = dict(problem.model.named_modules())
    for index, layer in enumerate(passed.layers):
        module = modules.get((renamed or {}).get(layer.name, layer.name))
        if not isinstance(module, nn.Linear | nn.modules.conv._ConvNd) or layer.fan_in is None:
            continue
        feeding = next((a for a in passed.activations if a.layer == index - 1), None)
        if feeding is None:
            variance = 1 / layer.input_square if layer.input_square > 0 else 1.0
        else:
            variance = variance_after(feeding.function_name)
        with torch.no_grad():
            # Drawn on the CPU, where the generator lives.
            drawn = torch.randn(module.weight.shape, generator=generator, dtype=torch.float64)
            module.weight.copy_(drawn * sqrt(variance / layer.fan_in))
            if module.bias is not None:
                module.bias.zero_()
    return problem
