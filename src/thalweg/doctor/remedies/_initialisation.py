"""Initialisation at the edge of chaos: the weights' variance at which gradients keep their size."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import inf, sqrt

import numpy as np
import torch
from torch import nn

from thalweg._batch import call_of, first_samples
from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy, applicable
from thalweg.doctor.remedies._reset import reset
from thalweg.signal import critical_weight_variance

NAME = "initialisation at the edge of chaos"

DRAWN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers whose weights are drawn anew."""

NUM_NODES = 60
"""Of Gauss and Hermite's rule: exact for polynomials of degree 119."""

MET = 64
"""Samples of the pass in which layers are scaled by what reaches them."""

Variances = Mapping[str, float]
"""σ_w² = fan_in · Var(W) by layer."""


def edge_of_chaos(readings: Readings) -> Remedy | NotApplicable:
    """Draws every weight matrix anew with the σ_w² at which χ = 1 for the network's activations."""
    functions = {a.function_name: a.function for a in readings.passed.activations}
    if not functions:
        return NotApplicable(NAME, "the network has no activation function that torch names")
    try:
        critical = {name: critical_weight_variance(phi) for name, phi in functions.items()}
    except ThalwegError as error:
        return NotApplicable(NAME, str(error))
    variances = chosen_variances(readings, lambda function_name: critical[function_name])
    if not variances:
        return NotApplicable(NAME, "no dense or convolutional layer has weights to draw anew")
    listed = ", ".join(f"{name}: {variance:.4g}" for name, variance in critical.items())
    return Remedy(
        f"{NAME} (σ_w² = {listed})",
        initialisation_code(readings.problem.model, variances),
        lambda problem, generator: drawn_anew(problem, variances, generator),
        rivals=applicable(reset(readings)),
    )


def length_preserving(readings: Readings) -> Remedy | NotApplicable:
    """Draws every weight matrix anew so that activations of size one stay so, σ_w² E[φ(z)²] = 1.

    For activations without an edge of chaos at σ_b = 0, as GELU. The mean is over z ~ N(0, 1).

    Source: He et al. 2015, "Delving deep into rectifiers", eq. 10, for any activation.
    """
    name = "initialisation that keeps lengths"
    functions = {a.function_name: a.function for a in readings.passed.activations}
    if not functions:
        return NotApplicable(name, "the network has no activation function that torch names")
    if isinstance(edge_of_chaos(readings), Remedy):
        return NotApplicable(name, "the edge of chaos is known, and keeps gradients too")
    nodes, weights = np.polynomial.hermite_e.hermegauss(NUM_NODES)
    z, share = torch.as_tensor(nodes), torch.as_tensor(weights / weights.sum())
    squares = {n: float((share * phi(z).square()).sum()) for n, phi in functions.items()}
    if not all(0 < square < inf for square in squares.values()):
        return NotApplicable(name, "an activation is zero nearly everywhere, or not finite")
    variances = chosen_variances(readings, lambda function_name: 1 / squares[function_name])
    if not variances:
        return NotApplicable(name, "no dense or convolutional layer has weights to draw anew")
    return Remedy(
        name,
        initialisation_code(readings.problem.model, variances),
        lambda problem, generator: drawn_anew(problem, variances, generator),
        rivals=applicable(reset(readings)),
    )


def chosen_variances(readings: Readings, after: Callable[[str], float]) -> Variances:
    """σ_w² for the dense and convolutional layers that are trained.

    It goes by the activation that feeds a layer; the first layer, which none feeds, brings the
    data to unit length. So do later ones that none feeds, as in a residual branch, with what
    reaches them once the layers before are drawn anew: what does now is part of what is wrong.

    Args:
        readings: say which activation feeds which layer.
        after: σ_w² of a layer fed by an activation, by the function's name.
    """
    passed = readings.passed
    modules = dict(readings.problem.model.named_modules())
    variances: dict[str, float] = {}
    unfed: list[str] = []
    for index, layer in enumerate(passed.layers):
        module = modules.get(layer.name)
        if not isinstance(module, DRAWN) or not _is_trained(module):
            continue
        feeding = next((a for a in passed.activations if a.layer == index - 1), None)
        if feeding is not None:
            variances[layer.name] = after(feeding.function_name)
        else:
            unfed += [layer.name] if variances else []
            variances[layer.name] = 1 / layer.input_square if layer.input_square > 0 else 1.0
    return _settled(readings.problem, variances, unfed) if unfed else variances


def _settled(problem: Problem, variances: Variances, unfed: Sequence[str]) -> Variances:
    """With the σ_w² of unfed layers by what reaches them in a pass of the network drawn anew.

    Cost: a forward pass over 64 samples. Where it cannot be made, they are left as they are.

    Source: Mishkin & Matas 2016, "All you need is a good init", for the pass in which layers are
    scaled as they come; theirs brings the output of each to unit variance.
    """
    drawn = drawn_anew(problem.copied(), variances, torch.Generator().manual_seed(0))
    model = drawn.model.eval()
    found = dict(variances)

    def meet(name: str, layer: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        square = float(inputs[0].double().square().mean())
        if name in met or not 0 < square < inf:
            return
        met.add(name)
        layer.get_parameter("weight").mul_(sqrt(1 / square / found[name]))
        found[name] = 1 / square

    met: set[str] = set()
    for name in unfed:
        model.get_submodule(name).register_forward_pre_hook(
            lambda layer, inputs, name=name: meet(name, layer, inputs)
        )
    try:
        call = call_of(first_samples(problem.batches[0], MET), model)
        with reading(), torch.no_grad():
            model(*call.args, **call.kwargs)
    except (RuntimeError, ValueError, TypeError):
        return variances
    return found


def drawn_anew(problem: Problem, variances: Variances, generator: torch.Generator) -> Problem:
    """Draws W ~ N(0, σ_w²/fan_in), and sets the biases to zero."""
    for name, variance in variances.items():
        layer = problem.model.get_submodule(name)
        weight, bias = layer.get_parameter("weight"), layer._parameters.get("bias")
        with torch.no_grad():
            # Drawn on the CPU, where the generator lives.
            drawn = torch.randn(weight.shape, generator=generator, dtype=torch.float64)
            weight.copy_(drawn * sqrt(variance / weight[0].numel()))
            if bias is not None:
                bias.zero_()
    return problem


def initialisation_code(model: nn.Module, variances: Variances) -> str:
    """The edit that draws these variances; layers that share one are not listed."""
    rounded = {name: f"{variance:.4g}" for name, variance in variances.items()}
    usual = Counter(rounded.values()).most_common(1)[0][0]
    others = {name: value for name, value in rounded.items() if value != usual}
    variance = usual
    if others:
        listed = ", ".join(f'"{name}": {value}' for name, value in others.items())
        variance = f"{{{listed}}}.get(name, {usual})"
    modules = [model.get_submodule(name) for name in variances]
    kinds = sorted({_kind(module) for module in modules})
    named = kinds[0] if len(kinds) == 1 else f"({', '.join(kinds)})"
    choice = f"isinstance(layer, {named})"
    if sum(isinstance(module, DRAWN) for module in model.modules()) > len(variances):
        choice = f"name in {list(variances)}"
    lines = [
        "for name, layer in model.named_modules():",
        f"    if {choice}:",
        f"        variance = {variance}",
        "        fan_in = layer.weight[0].numel()",
        "        nn.init.normal_(layer.weight, std=(variance / fan_in) ** 0.5)",
    ]
    has_bias = [module._parameters.get("bias") is not None for module in modules]
    if all(has_bias):
        lines.append("        nn.init.zeros_(layer.bias)")
    elif any(has_bias):
        lines += ["        if layer.bias is not None:", "            nn.init.zeros_(layer.bias)"]
    return "\n".join(lines)


def _is_trained(layer: nn.Module) -> bool:
    """Whether its weight is a parameter of its own, not frozen and not computed from others."""
    weight = layer._parameters.get("weight")
    return weight is not None and weight.requires_grad


def _kind(layer: nn.Module) -> str:
    return next(f"nn.{kind.__name__}" for kind in DRAWN if isinstance(layer, kind))
