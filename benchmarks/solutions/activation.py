"""Activations, and what is written for their derivatives by mistake."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Activation:
    """A function, how it is written, and what is written for its derivative by mistake."""

    name: str
    latex: str
    value: Function
    wrong: tuple[str, ...]

    def slope(self, z: Tensor) -> Tensor:
        """By autograd."""
        z = z.detach().clone().requires_grad_()
        self.value(z).sum().backward()
        assert z.grad is not None
        return z.grad


ACTIVATIONS = (
    Activation("sigmoid", r"\sigma", torch.sigmoid, ("1-h^2", "h", "1-h")),
    Activation("tanh", r"\tanh", torch.tanh, ("h(1-h)", "h", "1-h")),
    Activation("relu", r"\mathrm{ReLU}", torch.relu, ("h(1-h)", "1-h^2")),
    Activation(
        "leaky_relu",
        r"\mathrm{LeakyReLU}",
        lambda z: torch.nn.functional.leaky_relu(z, 0.1),
        ("h(1-h)", "1-h^2"),
    ),
)
