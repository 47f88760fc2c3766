"""Which torch functions are activations, and where their slope is nearly zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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


def name_of(function: Callable[..., Any]) -> str | None:
    """The activation that a torch function computes, None where it is no activation."""
    name = getattr(function, "__name__", "").removesuffix("_")
    return name if name in NAMES else None


def curried(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Function:
    """φ: the activation as called, as a function of its input alone, never in place."""
    settings = {k: v for k, v in kwargs.items() if k not in ("input", "inplace")}

    def phi(x: Tensor) -> Tensor:
        # The function may write in place; it is handed a copy.
        result: Tensor = function(x.clone(), *args[1:], **settings)
        return result

    return phi


def slope(phi: Function, x: Tensor) -> Tensor:
    """φ'(x), elementwise, by autograd."""
    with torch.inference_mode(False), torch.enable_grad():
        x = x.detach().clone().requires_grad_()
        (derivative,) = torch.autograd.grad(phi(x).sum(), x)
    return derivative


def max_slope(phi: Function) -> float:
    """Max |φ'| over [−10, 10], where every usual activation reaches it."""
    return float(slope(phi, torch.linspace(-10, 10, 4001, dtype=torch.float64)).abs().max())
