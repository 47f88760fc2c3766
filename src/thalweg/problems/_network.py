"""A stack of linear layers whose every number comes from a generator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

Draw = Callable[[Tensor, Tensor, torch.Generator], object]
"""Fills the weight (out, in) and the bias (out,) of a layer."""


def network(
    sizes: Sequence[int],
    activation: type[nn.Module],
    draw: Draw,
    generator: torch.Generator,
    dtype: torch.dtype = torch.float32,
) -> nn.Sequential:
    """Linear layers of these sizes with an activation between any two, none at the end."""
    modules: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        # On the meta device torch's own initialisation draws nothing from the global generator.
        layer = nn.Linear(fan_in, fan_out, device="meta", dtype=dtype).to_empty(device="cpu")
        draw(layer.weight, layer.bias, generator)
        modules += [layer, activation()]
    return nn.Sequential(*modules[:-1])
