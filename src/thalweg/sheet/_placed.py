"""Entries put elsewhere: views, transposes, slices, concatenations; and the largest of each window.

Which entry goes where is found without autograd: the same function is run on the numbers of the
entries in the place of their values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label


@dataclass(frozen=True, eq=False)
class Placed(Operation):
    """y_k = a_{s(k)}: each entry comes from one entry of the inputs, or is a constant.

    Args:
        title: in a sentence.
        of: the formula.
        call: the function of torch, of the inputs.
        is_selection: whether s depends on the values, by their order only: the largest of a window.
    """

    title: str
    of: Label
    call: Callable[..., Tensor]
    is_selection: bool = False
    may_mask = True

    def value(self, *inputs: Tensor) -> Tensor:
        """The entries in their new places."""
        source = self._source(inputs)
        flat = torch.cat([a.reshape(-1) for a in inputs])
        if bool((source >= 0).all()):
            return flat[source]
        return torch.where(source >= 0, flat[source.clamp(min=0)], self.call(*inputs))

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch; a view that is the tensor itself is told from it."""
        return self.call(*inputs).clone()

    def is_nothing(self, a: Tensor) -> bool:
        """Whether every entry of its only input stays where it is."""
        source = self._source((a,))
        return source.shape == a.shape and bool(
            (source.reshape(-1) == torch.arange(a.numel())).all()
        )

    def _source(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """The number of the entry of the inputs, one after another, that stands at each place; −1
        where none does.
        """
        size = sum(a.numel() for a in inputs)
        if self.is_selection:
            # What goes by the order of the values chooses the same entry of their ranks; of equal
            # ones the first, as torch does.
            order = inputs[0].reshape(-1).sort(descending=True, stable=True).indices
            ranks = torch.empty(size, dtype=torch.float64)
            ranks[order] = torch.arange(size, 0, -1, dtype=torch.float64)
            return order[size - self.call(ranks.reshape(inputs[0].shape)).long()]
        numbers = torch.arange(size, dtype=torch.float64).split([a.numel() for a in inputs])
        # Shifted twice, so that a zero which is padding is told from entry 0.
        low, high = (
            self.call(*(n.reshape(a.shape) + s for n, a in zip(numbers, inputs, strict=True)))
            for s in (0, size)
        )
        return torch.where(high - low == size, low, -1).long()

    def form(self, slot: int) -> Form:
        """By its own rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Each entry is taken over unchanged."""
        return torch.ones((), dtype=output.dtype)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Each entry of δ goes back to where its value came from; there they add."""
        source, size = self._source(inputs).reshape(-1), inputs[slot].numel()
        number = source - sum(a.numel() for a in inputs[:slot])
        is_ours = (number >= 0) & (number < size) & (source >= 0)
        back = torch.zeros(size, dtype=delta.dtype)
        back.index_add_(0, number[is_ours], delta.reshape(-1)[is_ours])
        return back.reshape(inputs[slot].shape)

    def formula(self) -> Label:
        """As in the program."""
        return self.of

    def local_formula(self, slot: int) -> Label:
        """Nothing is changed."""
        return Label("1", "1")

    def rule(self, slot: int) -> Label:
        """Back to the old places."""
        if self.is_selection:
            return Label("$d to the entries taken", r"$d \text{ to the entries taken}")
        return Label("$d back in place", r"$d \text{ back in place}")
