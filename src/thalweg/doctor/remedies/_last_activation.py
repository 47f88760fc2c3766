"""The activation module that makes a network's output, and the network without its last call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._batch import call_of, first_samples
from thalweg._loss import logits_of
from thalweg._problem import Problem
from thalweg._reading import copy_of, reading
from thalweg.doctor.remedies._surgery import put

SQUASHES = (
    nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.ReLU, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid,
    nn.Softplus, nn.LogSigmoid, nn.LeakyReLU, nn.ELU, nn.ReLU6, nn.Softmin,
)  # fmt: skip

FEW = 2
"""Samples that show in which order modules run."""


@dataclass(frozen=True)
class LastActivation:
    """An activation behind the last layer.

    Args:
        name: of its module.
        num_calls: in a forward pass; one module may serve hidden layers, too.
    """

    name: str
    num_calls: int

    def taken_out(self, model: nn.Module) -> None:
        """Lets the model return what that activation is given."""
        module = model.get_submodule(self.name)
        rest = AllButTheLast(module, self.num_calls) if self.num_calls > 1 else nn.Identity()
        put(model, module, rest)


class AllButTheLast(nn.Module):
    """An activation whose last call in a forward pass returns what it is given.

    Args:
        activation: of all calls before.
        num_calls: in a forward pass.
    """

    def __init__(self, activation: nn.Module, num_calls: int) -> None:
        super().__init__()
        self.activation, self.num_calls, self.called = activation, num_calls, 0

    def forward(self, x: Tensor) -> Tensor:
        """The activation's value, or x in the last call."""
        self.called = (self.called + 1) % self.num_calls
        result: Tensor = self.activation(x) if self.called else x
        return result


def last_activation_of(problem: Problem) -> LastActivation | None:
    """The activation module whose value the network returns; None where there is none.

    By what a pass over two samples does: modules may be registered in another order than they run
    in, and serve twice. Where none can be made, by the order of registration.
    """
    model = copy_of(problem.model).eval()
    leaves = {name: m for name, m in model.named_modules() if name and not list(m.children())}
    calls: list[tuple[str, Any]] = []
    for name, module in leaves.items():
        module.register_forward_hook(
            lambda _, __, output, name=name: calls.append((name, logits_of(output)))
        )
    try:
        call = call_of(first_samples(problem.batches[0], FEW), model)
        with reading(), torch.no_grad():
            output = logits_of(model(*call.args, **call.kwargs))
    except Exception:
        return _by_registration(leaves)
    if not isinstance(output, Tensor):
        return None
    made = [name for name, value in calls if _is_same(value, output)]
    made = [name for name in made if not isinstance(leaves[name], PASSING)]
    if not made or not isinstance(leaves[made[-1]], SQUASHES):
        return None
    return LastActivation(made[-1], sum(name == made[-1] for name, _ in calls))


PASSING = (nn.Identity, nn.Flatten, nn.Unflatten)
"""Modules that hand on what they are given."""


def _is_same(value: Any, output: Tensor) -> bool:
    """Whether a module returned what the network does, seen in another shape perhaps."""
    return (
        isinstance(value, Tensor)
        and value.numel() == output.numel()
        and value.data_ptr() == output.data_ptr()
    )


def _by_registration(leaves: dict[str, nn.Module]) -> LastActivation | None:
    for name, module in reversed(leaves.items()):
        if isinstance(module, SQUASHES):
            return LastActivation(name, 1)
        if not isinstance(module, PASSING):
            return None
    return None
