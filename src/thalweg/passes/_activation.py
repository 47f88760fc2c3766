"""Which torch functions are activations, and where their slope is nearly zero."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Function = Callable[[Tensor], Tensor]

NAMES = frozenset(
    {"celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid"}
    | {"mish", "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh"}
)
"""Elementwise activations by the name of their torch function, in-place forms included."""

SATURATED_BELOW = 0.01
"""A unit is saturated where |φ'| is under this share of its maximum."""


def slope(phi: Function, x: Tensor) -> Tensor:
    """φ'(x), elementwise, by autograd."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        y = phi(x)
        if not y.requires_grad:  # a step
            return torch.zeros_like(x)
        (derivative,) = torch.autograd.grad(y.sum(), x, materialize_grads=True)
    return derivative


def max_slope(phi: Function) -> float:
    """Max |φ'| over [−10, 10], where every usual activation reaches it."""
    return float(slope(phi, torch.linspace(-10, 10, 4001, dtype=torch.float64)).abs().max())
