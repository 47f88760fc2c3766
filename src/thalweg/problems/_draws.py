"""Initialisations of a linear layer, drawn from a generator."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg.problems._network import Draw


def as_torch(weight: Tensor, bias: Tensor, generator: torch.Generator) -> None:
    """The default of torch, U(±1/√fan_in) for both: the numbers its own constructor would draw."""
    nn.init.kaiming_uniform_(weight, a=5**0.5, generator=generator)
    bound = weight.shape[1] ** -0.5
    nn.init.uniform_(bias, -bound, bound, generator=generator)


def gaussian(std: float) -> Draw:
    """Weights N(0, std²), biases 0."""

    def draw(weight: Tensor, bias: Tensor, generator: torch.Generator) -> None:
        nn.init.normal_(weight, std=std, generator=generator)
        nn.init.zeros_(bias)

    return draw


def by_fan_in(scale: float) -> Draw:
    """Weights N(0, scale²/fan_in), biases 0."""

    def draw(weight: Tensor, bias: Tensor, generator: torch.Generator) -> None:
        gaussian(scale * weight.shape[1] ** -0.5)(weight, bias, generator)

    return draw


def sparse(scale: float, num_inputs: int = 15) -> Draw:
    """Weights scale · N(0, 1) from `num_inputs` inputs of each unit, 0 from the others; biases 0.

    Source: Martens 2010, "Deep learning via Hessian-free optimization", section 5. (torch's
    `sparse_` thins out the other way: it keeps as many of the weights that leave a unit.)
    """

    def draw(weight: Tensor, bias: Tensor, generator: torch.Generator) -> None:
        order = torch.rand(weight.shape, generator=generator, dtype=weight.dtype).argsort(1)
        values = torch.randn(weight.shape, generator=generator, dtype=weight.dtype)
        is_kept = order < num_inputs  # each row is a permutation of its columns
        with torch.no_grad():
            weight.copy_(scale * values * is_kept)
        nn.init.zeros_(bias)

    return draw
