"""Another activation, with the initialisation that belongs to it."""

from __future__ import annotations

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._initialisation import reinitialised
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy
from thalweg.signal import critical_weight_variance

MODULES: tuple[type[nn.Module], ...] = (
    nn.Sigmoid, nn.Tanh, nn.ReLU, nn.Hardtanh, nn.Hardsigmoid, nn.Softsign, nn.LogSigmoid,
    nn.Softplus, nn.ReLU6, nn.ELU, nn.LeakyReLU,
)  # fmt: skip


def relu(readings: Readings) -> Remedy | NotApplicable:
    """ReLU with He's initialisation, σ_w² = 2."""
    return _swapped(readings, nn.ReLU(), "ReLU with He initialisation")


def leaky_relu(readings: Readings) -> Remedy | NotApplicable:
    """Leaky ReLU, which keeps a slope where ReLU dies."""
    return _swapped(readings, nn.LeakyReLU(0.1), "leaky ReLU with He initialisation")


def tanh(readings: Readings) -> Remedy | NotApplicable:
    """Tanh at σ_w² = 1."""
    return _swapped(readings, nn.Tanh(), "tanh at the edge of chaos")


def _swapped(readings: Readings, activation: nn.Module, name: str) -> Remedy | NotApplicable:
    hidden = _hidden_activations(readings)
    if not hidden:
        return NotApplicable(
            name,
            "the activations are called as functions in forward(), where thalweg cannot replace "
            "them; make them modules (nn.Sigmoid()) to have this tried",
        )
    if all(type(readings.problem.model.get_submodule(n)) is type(activation) for n in hidden):
        return NotApplicable(name, "the network has this activation already")
    variance = critical_weight_variance(activation)
    old = " / ".join(
        sorted({type(readings.problem.model.get_submodule(n)).__name__ for n in hidden})
    )

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        for module_name in hidden:
            problem.model.set_submodule(module_name, activation)
        return reinitialised(problem, readings.passed, lambda _: variance, generator)

    return Remedy(
        name,
        f"""\
# in the model: nn.{old}() -> nn.{activation}
for layer in model.modules():
    if isinstance(layer, (nn.Linear, nn.Conv2d)):
        fan_in = layer.weight[0].numel()
        nn.init.normal_(layer.weight, std=({variance:.4g} / fan_in) ** 0.5)
        nn.init.zeros_(layer.bias)""",
        apply,
    )


def _hidden_activations(readings: Readings) -> list[str]:
    """Names of activation modules that another layer follows."""
    last = len(readings.passed.layers) - 1
    modules = dict(readings.problem.model.named_modules())
    names = [a.name for a in readings.passed.activations if a.layer < last]
    return [name for name in dict.fromkeys(names) if type(modules.get(name)) in MODULES]
