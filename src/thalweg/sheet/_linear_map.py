"""Functions that are linear in each input: pooling by means, convolutions, running sums."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label

MAX_MATRIX = 10_000
"""Entries up to which a linear map is written as a matrix."""

MAX_BASIS = 20_000
"""Entries of an input up to which its unit vectors are run through."""

_CHUNK = 256


@dataclass(frozen=True, eq=False)
class LinearMap(Operation):
    """y = f(a) or f(a, b), linear in a and in b, each with the other held.

    The derivative of a linear map is the map: its columns are what the unit vectors go to.

    Args:
        title: in a sentence.
        of: the formula.
        call: f by torch.
        rules: how δ goes back to either input.
    """

    title: str
    of: Label
    call: Callable[..., Tensor]
    rules: tuple[Label, ...]

    def value(self, *inputs: Tensor) -> Tensor:
        """f of the inputs."""
        return self.call(*inputs)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return self.call(*inputs)

    def form(self, slot: int) -> Form:
        """By its own rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The other factor; of one input the matrix, if it is small."""
        if len(inputs) > 1:
            return inputs[1 - slot]
        if inputs[0].numel() * output.numel() > MAX_MATRIX:
            return torch.ones((), dtype=output.dtype)
        return torch.cat(list(self._images(slot, inputs))).T

    def _images(self, slot: int, inputs: tuple[Tensor, ...]):  # type: ignore[no-untyped-def]
        """What the unit vectors of an input go to, a row each."""
        shape, size = inputs[slot].shape, inputs[slot].numel()
        for start in range(0, size, _CHUNK):
            stop = min(start + _CHUNK, size)
            units = torch.zeros(stop - start, size, dtype=torch.float64)
            units[torch.arange(stop - start), torch.arange(start, stop)] = 1
            rows = [
                self.call(*inputs[:slot], unit.reshape(shape), *inputs[slot + 1 :]).reshape(-1)
                for unit in units
            ]
            yield torch.stack(rows)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Entry j is δ times what the unit vector of j goes to."""
        parts = [images @ delta.reshape(-1) for images in self._images(slot, inputs)]
        return torch.cat(parts).reshape(inputs[slot].shape)

    def formula(self) -> Label:
        """As in the program."""
        return self.of

    def local_formula(self, slot: int) -> Label:
        """The map, or the other factor."""
        if len(self.rules) == 1:
            return Label("the map M itself", r"M")
        return (Label("$b", "$b"), Label("$a", "$a"))[slot]

    def rule(self, slot: int) -> Label:
        """Transposed."""
        return self.rules[slot]
