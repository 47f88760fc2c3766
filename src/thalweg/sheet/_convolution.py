"""Convolution in the plane: the same small matrix over every patch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.sheet._elementwise import Elementwise
from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label


@dataclass(frozen=True)
class Convolution(Operation):
    """y = W ∗ x, as a product of W with the patches of x.

    Args:
        stride: of the patches.
        padding: zeros around x.
        dilation: between the entries of a patch.
    """

    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int]
    title = "convolution"

    def _patches(self, x: Tensor, W: Tensor) -> Tensor:
        """(batch, entries of a patch, patches)."""
        size = (W.shape[2], W.shape[3])
        return F.unfold(x, size, self.dilation, self.padding, self.stride)

    def value(self, *inputs: Tensor) -> Tensor:
        """The product of W with each patch."""
        W, x = inputs
        flat = torch.einsum("oj,njp->nop", W.reshape(W.shape[0], -1), self._patches(x, W))
        sizes = [
            (n + 2 * p - d * (k - 1) - 1) // s + 1
            for n, p, d, k, s in zip(
                x.shape[2:], self.padding, self.dilation, W.shape[2:], self.stride, strict=True
            )
        ]
        return flat.reshape(x.shape[0], W.shape[0], *sizes)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        W, x = inputs
        return F.conv2d(x, W, None, self.stride, self.padding, self.dilation)

    def form(self, slot: int) -> Form:
        """By the other factor."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The other factor."""
        return inputs[1 - slot]

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """δ times the patches; the patches of Wᵀ δ put back and added."""
        W, x = inputs
        flat = delta.reshape(*delta.shape[:2], -1)
        if slot == 0:
            return torch.einsum("nop,njp->oj", flat, self._patches(x, W)).reshape(W.shape)
        patches = torch.einsum("oj,nop->njp", W.reshape(W.shape[0], -1), flat)
        size = (W.shape[2], W.shape[3])
        return F.fold(
            patches, (x.shape[2], x.shape[3]), size, self.dilation, self.padding, self.stride
        )

    def formula(self) -> Label:
        """W ∗ x."""
        return Label("$a ∗ $b", "$a * $b")

    def local_formula(self, slot: int) -> Label:
        """The other factor."""
        return (Label("$b", "$b"), Label("$a", "$a"))[slot]

    def rule(self, slot: int) -> Label:
        """A correlation with δ."""
        if slot == 0:
            return Label("Σ patches $d · patches of $b", r"\textstyle\sum $d \cdot [$b]")
        return Label("$aᵀ $d, put back and added", r"\left[{$a}^{\top} $d\right]")


@dataclass(frozen=True, eq=False)
class Channelwise(Operation):
    """f(x, b, …) entry by entry, where b has one number for each channel.

    Args:
        of: f.
        dim: of x, along which the channels lie.
    """

    of: Elementwise
    dim: int = 1

    @property
    def title(self) -> str:  # type: ignore[override]
        """With f's."""
        return f"{self.of.title}, with a number for each channel"

    def _spread(self, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """A vector stands along its dimension."""
        x, *rest = inputs
        sizes = [-1 if dim == self.dim % x.ndim else 1 for dim in range(x.ndim)]
        return (x, *(b.reshape(sizes) for b in rest))

    def value(self, *inputs: Tensor) -> Tensor:
        """A number is used for all of a channel."""
        return self.of.value(*self._spread(inputs))

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch, of a view."""
        return self.of.peer(*self._spread(inputs))

    def form(self, slot: int) -> Form:
        """Summed over each channel."""
        return Form.EACH if slot == 0 else Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """∂f at each entry."""
        local = self.of.local(slot, self._spread(inputs), output)
        return (
            local.reshape(inputs[1].shape)
            if local.numel() == inputs[1].numel() != 1 and slot
            else local
        )

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """δ ⊙ ∂f, or its sum over each channel."""
        return self.of.pull(slot, delta, self._spread(inputs), output).reshape(inputs[slot].shape)

    def formula(self) -> Label:
        """F."""
        return self.of.formula()

    def local_formula(self, slot: int) -> Label:
        """∂f."""
        return self.of.local_formula(slot)

    def rule(self, slot: int) -> Label | None:
        """δ ⊙ ∂f, or its sum over each channel."""
        if slot == 0:
            return None
        text, latex = self.of.written[slot].text, self.of.written[slot].latex
        each = "" if text == "1" else f" ⊙ ({text})" if " " in text else f" ⊙ {text}"
        times = "" if text == "1" else f" \\odot {latex}"
        return Label(
            f"Σ $d{each} over each channel", f"\\textstyle\\sum_{{\\text{{channel}}}} $d{times}"
        )
