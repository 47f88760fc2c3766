"""Block: the curvature of one layer's parameters, summed up while batches pass, then its powers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg.optim._kronecker import Turn

Sums = dict[str, Tensor]
"""What is summed over batches, by name."""


@dataclass(frozen=True)
class Use:
    """A module that ran: what it was given, and what it returned with its graph."""

    module: nn.Module
    given: Tensor
    output: Tensor


class Block(ABC):
    """Parameters whose curvature is approximated together.

    Args:
        name: of the layer.
        modules: that use the parameters: one, and more where they are tied.
        places: where weight and bias lie in the flat vector; without bias, only the first.
    """

    def __init__(self, name: str, modules: Sequence[nn.Module], places: Sequence[slice]) -> None:
        self.name = name
        self.modules = list(modules)
        self.weight = places[0]
        self.bias = places[1] if len(places) > 1 else None
        self.uses: list[Use] = []

    def watch(self, module: nn.Module, given: tuple[Any, ...], output: Tensor) -> None:
        """Writes down that a module ran: a forward hook."""
        if output.requires_grad:
            self.uses.append(Use(module, given[0].detach(), output))

    @abstractmethod
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what is summed up."""

    @property
    @abstractmethod
    def num_outputs(self) -> int:
        """The side of the factor of the slopes."""

    @abstractmethod
    def num_rows(self, use: Use) -> int:
        """How many samples, with their positions, an output has."""

    def add_inputs(self, sums: Sums, share: float) -> None:  # noqa: B027
        """Adds what the inputs say, times the share of the batch."""

    @abstractmethod
    def add_slopes(self, sums: Sums, slopes: Sequence[Tensor | None], share: float) -> None:
        """Adds what slopes at the outputs of all uses say, times the share of the batch."""

    @abstractmethod
    def take(self, sums: Mapping[str, Tensor], damping: float) -> float:
        """Takes what was summed up; returns the mean of the block's diagonal."""

    @abstractmethod
    def applied(self, v: Float[Tensor, " n"], turn: Turn) -> Sequence[Tensor]:
        """The block's parts of v, turned: that of the weight, and that of the bias if any."""

    @abstractmethod
    def solved(self, v: Float[Tensor, " n"], shift: float) -> Sequence[Tensor]:
        """(M + δ)⁻¹ of the block's parts of v; the inverse is kept until another δ comes."""

    @property
    def num_params(self) -> int:
        """How many numbers it holds the curvature of."""
        places = [self.weight] if self.bias is None else [self.weight, self.bias]
        return sum(place.stop - place.start for place in places)

    def is_alive(self, sums: Mapping[str, Tensor]) -> bool:
        """Whether there is any curvature, and none that is not finite."""
        factors = [sums[key] for key in self.shapes()]
        tiny = torch.finfo(factors[0].dtype).tiny ** 0.5
        return all(tiny < _trace(factor) < inf for factor in factors)


def _trace(factor: Tensor) -> float:
    return float((factor if factor.ndim == 2 else factor.diagonal(dim1=-2, dim2=-1)).sum())
