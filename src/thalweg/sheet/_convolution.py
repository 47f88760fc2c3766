"""Convolution in the plane: the same small matrix over every patch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

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


@dataclass(frozen=True)
class AddChannels(Operation):
    """x + b, a number for each channel."""

    title = "sum with a number for each channel"

    def value(self, *inputs: Tensor) -> Tensor:
        """A number is added to all of a channel."""
        x, b = inputs
        return x + b[None, :, None, None]

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch, of a view."""
        x, b = inputs
        return torch.add(x, b.view(1, -1, 1, 1))

    def form(self, slot: int) -> Form:
        """Summed over each channel."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """1."""
        return torch.ones((), dtype=output.dtype)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """δ, or its sum over each channel."""
        return delta.clone() if slot == 0 else delta.sum((0, 2, 3))

    def formula(self) -> Label:
        """x + b."""
        return Label("$a + $b", "$a + $b")

    def local_formula(self, slot: int) -> Label:
        """1."""
        return Label("1", "1")

    def rule(self, slot: int) -> Label:
        """δ, or its sum over each channel."""
        if slot == 0:
            return Label("$d", "$d")
        return Label("Σ $d over each channel", r"\textstyle\sum_{\text{channel}} $d")
