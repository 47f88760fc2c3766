"""A way around: hidden blocks that keep their width add their input."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "residual connections"


class Skip(nn.Module):
    """x + f(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the body makes of it, of the same shape."""
        out: Tensor = x + self.body(x)
        return out


def residual(readings: Readings) -> Remedy | NotApplicable:
    """Wraps every dense layer of a plain stack that keeps its width, with its activation."""
    model = readings.problem.model
    if not isinstance(model, nn.Sequential):
        return NotApplicable(NAME, "the network is no plain nn.Sequential")
    pairs = [
        at for at in range(len(model) - 1)
        if _keeps(model[at]) and not list(model[at + 1].parameters())
    ]  # fmt: skip
    if not pairs:
        return NotApplicable(NAME, "no dense layer keeps its width")

    def apply(problem: Problem, _: torch.Generator) -> Problem:
        for at in pairs:
            stack = problem.model
            assert isinstance(stack, nn.Sequential)
            stack[at] = Skip(nn.Sequential(stack[at], stack[at + 1]))
            stack[at + 1] = nn.Identity()
        return problem

    return Remedy(
        NAME,
        "class Skip(nn.Module):\n"
        "    def __init__(self, body):\n"
        "        super().__init__()\n"
        "        self.body = body\n\n"
        "    def forward(self, x):\n"
        "        return x + self.body(x)\n\n"
        f"for at in {pairs}:\n"
        "    model[at] = Skip(nn.Sequential(model[at], model[at + 1]))\n"
        "    model[at + 1] = nn.Identity()",
        apply,
    )


def _keeps(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and module.in_features == module.out_features
