"""Operations over all entries: sums, norms, softmax."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label

MAX_JACOBIAN = 64
"""Entries up to which the Jacobian of a softmax is written out."""


@dataclass(frozen=True)
class Sum(Operation):
    """Σ aᵢ."""

    title = "sum of entries"

    def value(self, *inputs: Tensor) -> Tensor:
        """Σ aᵢ."""
        return inputs[0].reshape(-1).sum()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By a scalar product with ones."""
        flat = inputs[0].reshape(-1)
        return flat @ torch.ones_like(flat)

    def form(self, slot: int) -> Form:
        """One number."""
        return Form.WHOLE

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Ones."""
        return torch.ones_like(inputs[0])

    def formula(self) -> Label:
        """Σ aᵢ."""
        return Label("Σᵢ $aᵢ", r"\textstyle\sum_i \left[$a\right]_i")

    def local_formula(self, slot: int) -> Label:
        """Ones."""
        return Label("1", r"\mathbf{1}")


@dataclass(frozen=True)
class Mean(Sum):
    """Σ aᵢ / n."""

    title = "mean of entries"

    def value(self, *inputs: Tensor) -> Tensor:
        """Σ aᵢ / n."""
        return super().value(*inputs) / inputs[0].numel()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return torch.mean(inputs[0])

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """1/n at each entry."""
        return torch.full_like(inputs[0], 1 / inputs[0].numel())

    def formula(self) -> Label:
        """Mean."""
        return Label("mean($a)", r"\operatorname{mean}($a)")

    def local_formula(self, slot: int) -> Label:
        """1/n."""
        return Label("1/n", r"\tfrac{1}{n}")


@dataclass(frozen=True)
class SumOver(Operation):
    """Σ or mean over some dimensions.

    Args:
        dims: over which.
        keepdim: whether they stay, with size 1.
        is_mean: whether it is divided by the number of summands.
    """

    dims: tuple[int, ...]
    keepdim: bool
    is_mean: bool

    @property
    def title(self) -> str:  # type: ignore[override]
        """Its name."""
        over = ", ".join(str(dim) for dim in self.dims)
        return f"{'mean' if self.is_mean else 'sum'} over dimension {over}, counted from 0"

    def _share(self, a: Tensor) -> float:
        return 1 / prod(a.shape[dim] for dim in self.dims) if self.is_mean else 1.0

    def value(self, *inputs: Tensor) -> Tensor:
        """Σ aᵢ, divided by n."""
        return inputs[0].sum(self.dims, keepdim=self.keepdim) * self._share(inputs[0])

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch, or by a product with ones."""
        (a,) = inputs
        if self.is_mean:
            return torch.mean(a, self.dims, self.keepdim)
        rest = [dim for dim in range(a.ndim) if dim not in self.dims]
        flat = a.permute(*rest, *self.dims).reshape(*(a.shape[dim] for dim in rest), -1)
        total = flat @ torch.ones(flat.shape[-1], dtype=a.dtype)
        sizes = [1 if dim in self.dims else a.shape[dim] for dim in range(a.ndim)]
        return total.reshape(sizes) if self.keepdim else total

    def form(self, slot: int) -> Form:
        """By its own rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """1, or 1/n."""
        return torch.tensor(self._share(inputs[0]), dtype=output.dtype)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """Each summand gets δ, divided by n."""
        (a,) = inputs
        sizes = [1 if dim in self.dims else a.shape[dim] for dim in range(a.ndim)]
        return (delta.reshape(sizes) * self._share(a)).expand(a.shape).clone()

    def formula(self) -> Label:
        """Σ or mean."""
        over = ",".join(str(dim) for dim in self.dims)
        if self.is_mean:
            return Label(f"mean($a; dim {over})", f"\\operatorname{{mean}}_{{{over}}} $a")
        return Label(f"sum($a; dim {over})", f"\\operatorname{{sum}}_{{{over}}} $a")

    def local_formula(self, slot: int) -> Label:
        """1, or 1/n."""
        return Label("1/n", r"\tfrac{1}{n}") if self.is_mean else Label("1", "1")

    def rule(self, slot: int) -> Label:
        """Spread over the summands."""
        if self.is_mean:
            return Label("$d/n to each", r"\tfrac{1}{n} $d \text{ to each}")
        return Label("$d to each", r"$d \text{ to each}")


@dataclass(frozen=True)
class Norm(Sum):
    """‖a‖."""

    title = "norm"

    def value(self, *inputs: Tensor) -> Tensor:
        """‖a‖ = √Σaᵢ², scaled against overflow."""
        largest = inputs[0].abs().max()
        if not bool(largest > 0):
            return largest
        return largest * ((inputs[0] / largest) ** 2).sum().sqrt()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        norm: Tensor = torch.linalg.vector_norm(inputs[0])
        return norm

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """a/‖a‖."""
        return torch.zeros_like(inputs[0]) if not bool(output) else inputs[0] / output

    def formula(self) -> Label:
        """‖a‖."""
        return Label("‖$a‖", r"\lVert $a \rVert")

    def local_formula(self, slot: int) -> Label:
        """a/‖a‖."""
        return Label("$a/$y", r"\frac{$a}{$y}")

    def kink(self, inputs: tuple[Tensor, ...]) -> str:
        """At 0."""
        if bool(inputs[0].any()):
            return ""
        return "at 0 the norm has no derivative; 0 is taken, as in torch"


@dataclass(frozen=True)
class SquaredNorm(Sum):
    """‖a‖²."""

    title = "squared norm"

    def value(self, *inputs: Tensor) -> Tensor:
        """Σ aᵢ²."""
        return (inputs[0] ** 2).sum()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By a scalar product."""
        flat = inputs[0].reshape(-1)
        return flat @ flat

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """2a."""
        return 2 * inputs[0]

    def formula(self) -> Label:
        """‖a‖²."""
        return Label("‖$a‖²", r"\lVert $a \rVert^{2}")

    def local_formula(self, slot: int) -> Label:
        """2a."""
        return Label("2·$a", "2 $a")


@dataclass(frozen=True)
class Softmax(Operation):
    """pᵢ = exp aᵢ / Σⱼ exp aⱼ; of a matrix row by row.

    Args:
        dim: along which the sum goes.
    """

    dim: int = -1
    title = "softmax"

    def value(self, *inputs: Tensor) -> Tensor:
        """exp aᵢ / Σ exp aⱼ, after taking the largest away."""
        raised = torch.exp(inputs[0] - inputs[0].amax(self.dim, keepdim=True))
        return raised / raised.sum(self.dim, keepdim=True)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return torch.softmax(inputs[0], self.dim)

    def form(self, slot: int) -> Form:
        """The Jacobian of a vector is written out; rows go by the rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """diag p − p pᵀ; of rows, or where that is large, p alone."""
        if output.ndim != 1 or output.numel() > MAX_JACOBIAN:
            return output
        return torch.diag(output) - torch.outer(output, output)

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """p ⊙ (δ − pᵀδ)."""
        return output * (delta - (output * delta).sum(self.dim, keepdim=True))

    def formula(self) -> Label:
        """softmax."""
        over, below = self._over()
        return Label(f"softmax($a{over})", f"\\operatorname{{softmax}}{below}($a)")

    def _over(self) -> tuple[str, str]:
        """The dimension, where it is not the last."""
        return ("", "") if self.dim == -1 else (f"; dim {self.dim}", f"_{{{self.dim}}}")

    def local_formula(self, slot: int) -> Label:
        """diag p − p pᵀ."""
        return Label("diag($y) − $y $yᵀ", r"\operatorname{diag}($y) - $y\, {$y}^{\top}")

    def rule(self, slot: int) -> Label:
        """p ⊙ (δ − pᵀδ)."""
        return Label("$y ⊙ ($d − $yᵀ $d)", r"$y \odot ($d - {$y}^{\top} $d)")


@dataclass(frozen=True)
class LogSoftmax(Softmax):
    """aᵢ − ln Σⱼ exp aⱼ; of a matrix row by row."""

    title = "logarithm of the softmax"

    def value(self, *inputs: Tensor) -> Tensor:
        """aᵢ − ln Σ exp aⱼ, after taking the largest away."""
        moved = inputs[0] - inputs[0].amax(self.dim, keepdim=True)
        return moved - torch.exp(moved).sum(self.dim, keepdim=True).log()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return torch.log_softmax(inputs[0], self.dim)

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """I − 1 pᵀ; of rows, or where that is large, p alone."""
        p = torch.exp(output)
        if output.ndim != 1 or output.numel() > MAX_JACOBIAN:
            return p
        return torch.eye(len(p), dtype=p.dtype) - p[None, :]

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """δ − p Σδ."""
        return delta - torch.exp(output) * delta.sum(self.dim, keepdim=True)

    def formula(self) -> Label:
        """ln softmax."""
        over, below = self._over()
        return Label(f"ln softmax($a{over})", f"\\ln\\operatorname{{softmax}}{below}($a)")

    def local_formula(self, slot: int) -> Label:
        """I − 1 pᵀ."""
        return Label("I − 1 pᵀ, p = exp($y)", r"I - \mathbf{1}\, {\exp($y)}^{\top}")

    def rule(self, slot: int) -> Label:
        """δ − p Σδ."""
        return Label("$d − exp($y) · Σ $d", r"$d - \exp($y) \textstyle\sum $d")
