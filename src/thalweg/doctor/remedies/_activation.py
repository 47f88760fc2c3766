"""Another activation, with the initialisation that belongs to it."""

from __future__ import annotations

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._initialisation import (
    chosen_variances,
    drawn_anew,
    initialisation_code,
)
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy
from thalweg.doctor.remedies._surgery import put
from thalweg.signal import critical_weight_variance

MODULES: tuple[type[nn.Module], ...] = (
    nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid,
    nn.Softplus, nn.ReLU6, nn.ELU, nn.LeakyReLU,
)  # fmt: skip


def relu(readings: Readings) -> Remedy | NotApplicable:
    """ReLU with He's initialisation, σ_w² = 2."""
    return _swapped(readings, nn.ReLU(), "ReLU with He initialisation")


def relu_for_sigmoid(readings: Readings) -> Remedy | NotApplicable:
    """The same where the activations are sigmoids: none is less suited to depth.

    Their slope is a quarter at most, and their mean is not zero: the edge of chaos takes weights a
    hundred times as large, with which they saturate.
    """
    name = "ReLU with He initialisation, for sigmoids"
    modules = dict(readings.problem.model.named_modules())
    hidden = _hidden_activations(readings)
    if not hidden or not all(isinstance(modules[each], nn.Sigmoid) for each in hidden):
        return NotApplicable(name, "the activations are no sigmoids, or no modules")
    return _swapped(readings, nn.ReLU(), name)


def relu_for_others(readings: Readings) -> Remedy | NotApplicable:
    """The same where they are anything else."""
    if isinstance(relu_for_sigmoid(readings), Remedy):
        return NotApplicable("ReLU with He initialisation", "it stands first, for sigmoids")
    return relu(readings)


def leaky_relu(readings: Readings) -> Remedy | NotApplicable:
    """Leaky ReLU, which keeps a slope where ReLU dies."""
    return _swapped(readings, nn.LeakyReLU(0.1), "leaky ReLU with He initialisation")


def tanh(readings: Readings) -> Remedy | NotApplicable:
    """Tanh at σ_w² = 1."""
    return _swapped(readings, nn.Tanh(), "tanh at the edge of chaos")


def _swapped(readings: Readings, activation: nn.Module, name: str) -> Remedy | NotApplicable:
    model = readings.problem.model
    hidden = _hidden_activations(readings)
    if not hidden:
        return NotApplicable(name, _why_none(readings))
    if all(type(model.get_submodule(n)) is type(activation) for n in hidden):
        return NotApplicable(name, "the network has this activation already")
    critical = critical_weight_variance(activation)
    variances = chosen_variances(readings, lambda _: critical)
    old = " / ".join(sorted({f"nn.{type(model.get_submodule(n)).__name__}()" for n in hidden}))

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        for module_name in hidden:
            put(problem.model, problem.model.get_submodule(module_name), activation)
        return drawn_anew(problem, variances, generator)

    code = f"# in the model, between the layers: {old} -> nn.{activation}"
    if variances:
        code += f"\n{initialisation_code(model, variances)}"
    return Remedy(name, code, apply)


def _why_none(readings: Readings) -> str:
    last = len(readings.passed.layers) - 1
    used = [a for a in readings.passed.activations if a.layer < last]
    if not used:
        return "no layer follows an activation that torch names"
    modules = dict(readings.problem.model.named_modules())
    kinds = {type(modules.get(a.name)) for a in used}
    good = sorted(k.__name__ for k in kinds if k.__module__ == nn.modules.activation.__name__)
    if good and not kinds & set(MODULES):
        return f"{', '.join(good)} is as good"
    return (
        "the activations are called as functions in forward(), or make the output too, where "
        "thalweg cannot replace them; make each a module of its own to have this tried"
    )


def _hidden_activations(readings: Readings) -> list[str]:
    """Names of activation modules that another layer always follows."""
    last = len(readings.passed.layers) - 1
    modules = dict(readings.problem.model.named_modules())
    used = readings.passed.activations
    final = {a.name for a in used if a.layer >= last}
    names = dict.fromkeys(a.name for a in used if a.name not in final)
    return [name for name in names if type(modules.get(name)) in MODULES]
