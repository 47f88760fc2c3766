"""Loss functions as one operation each, with the derivative that is learnt by heart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label


@dataclass(frozen=True)
class SquaredError(Operation):
    """c ‖a − b‖², c = 1, ½ or 1/n.

    Args:
        title: in a sentence.
        scale: c; None for 1/n.
        of: c in a formula.
        twice: 2c in a formula.
    """

    title: str
    scale: float | None
    of: Label
    twice: Label

    def _scale(self, a: Tensor) -> float:
        return 1 / a.numel() if self.scale is None else self.scale

    def value(self, *inputs: Tensor) -> Tensor:
        """c Σ (aᵢ − bᵢ)²."""
        a, b = inputs
        return self._scale(a) * ((a - b) ** 2).sum()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        a, b = inputs
        return F.mse_loss(a, b, reduction="sum") * self._scale(a)

    def form(self, slot: int) -> Form:
        """One number."""
        return Form.WHOLE

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """±2c (a − b)."""
        a, b = inputs
        return (1 - 2 * slot) * 2 * self._scale(a) * (a - b)

    def formula(self) -> Label:
        """c ‖a − b‖²."""
        return Label(f"{self.of.text}‖$a − $b‖²", f"{self.of.latex} \\lVert $a - $b \\rVert^{{2}}")

    def local_formula(self, slot: int) -> Label:
        """±2c (a − b)."""
        text, latex = ("$a − $b", "$a - $b") if slot == 0 else ("$b − $a", "$b - $a")
        if not self.twice.text:
            return Label(text, latex)
        return Label(f"{self.twice.text} ({text})", f"{self.twice.latex} ({latex})")


SQUARED_ERROR = SquaredError("squared error", 1.0, Label("", ""), Label("2", "2"))
HALF_SQUARED_ERROR = SquaredError(
    "half the squared error", 0.5, Label("½", r"\tfrac{1}{2}"), Label("", "")
)
MEAN_SQUARED_ERROR = SquaredError(
    "mean squared error", None, Label("1/n ", r"\tfrac{1}{n}"), Label("2/n", r"\tfrac{2}{n}")
)


@dataclass(frozen=True)
class CrossEntropy(Operation):
    """−Σ bᵢ ln aᵢ: a are probabilities, b the target's."""

    title = "cross-entropy of probabilities"

    def value(self, *inputs: Tensor) -> Tensor:
        """−Σ bᵢ ln aᵢ, where 0 ln 0 is 0."""
        a, b = inputs
        return -torch.where(b == 0, 0.0, b * torch.log(torch.where(b == 0, 1.0, a))).sum()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        a, b = inputs
        total: Tensor = torch.special.xlogy(b, a).sum()
        return -total

    def form(self, slot: int) -> Form:
        """One number."""
        return Form.WHOLE

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """−b/a, and −ln a."""
        a, b = inputs
        return -torch.where(b == 0, 0.0, b / a) if slot == 0 else -torch.log(a)

    def formula(self) -> Label:
        """−bᵀ ln a."""
        return Label("−Σᵢ $bᵢ ln $aᵢ", r"-{$b}^{\top} \ln $a")

    def local_formula(self, slot: int) -> Label:
        """−b/a, and −ln a."""
        if slot == 1:
            return Label("−ln $a", r"-\ln $a")
        return Label("−$b/$a, entry by entry", r"-\frac{$b}{$a}")


@dataclass(frozen=True)
class BinaryCrossEntropy(Operation):
    """−mean(b ln a + (1 − b) ln(1 − a)): a are probabilities."""

    title = "binary cross-entropy of probabilities"

    def value(self, *inputs: Tensor) -> Tensor:
        """−mean(b ln a + (1 − b) ln(1 − a)), where 0 ln 0 is 0."""
        a, b = inputs
        yes = torch.where(b == 0, 0.0, b * torch.log(torch.where(b == 0, 1.0, a)))
        no = torch.where(b == 1, 0.0, (1 - b) * torch.log1p(-torch.where(b == 1, 0.0, a)))
        return -(yes + no).sum() / a.numel()

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        a, b = inputs
        mean: Tensor = (torch.special.xlogy(b, a) + torch.special.xlog1py(1 - b, -a)).mean()
        return -mean

    def form(self, slot: int) -> Form:
        """One number."""
        return Form.WHOLE

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """((1 − b)/(1 − a) − b/a)/n, and ln((1 − a)/a)/n."""
        a, b = inputs
        if slot == 1:
            return (torch.log1p(-a) - torch.log(a)) / a.numel()
        yes = torch.where(b == 0, 0.0, b / a)
        no = torch.where(b == 1, 0.0, (1 - b) / (1 - a))
        return (no - yes) / a.numel()

    def formula(self) -> Label:
        """The mean of −b ln a − (1 − b) ln(1 − a)."""
        return Label(
            "mean(−$b ln $a − (1 − $b) ln(1 − $a))",
            r"\operatorname{mean}\left(-$b \ln $a - (1 - $b) \ln(1 - $a)\right)",
        )

    def local_formula(self, slot: int) -> Label:
        """By the quotient of probabilities."""
        if slot == 1:
            return Label("ln((1 − $a)/$a)/n", r"\tfrac{1}{n} \ln\frac{1 - $a}{$a}")
        return Label(
            "((1 − $b)/(1 − $a) − $b/$a)/n",
            r"\tfrac{1}{n}\left(\frac{1 - $b}{1 - $a} - \frac{$b}{$a}\right)",
        )


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Operation):
    """−Σ bᵢ ln softmax(a)ᵢ; a are logits. The mean over rows where a is a matrix."""

    title = "cross-entropy of a softmax"

    def value(self, *inputs: Tensor) -> Tensor:
        """Σ bᵢ (ln Σ exp aⱼ − aᵢ), after taking the largest away."""
        a, b = inputs
        moved = a - a.amax(-1, keepdim=True)
        total = torch.exp(moved).sum(-1, keepdim=True).log()
        return (b * (total - moved)).sum() / _num_rows(a)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return F.cross_entropy(inputs[0], inputs[1])

    def form(self, slot: int) -> Form:
        """One number."""
        return Form.WHOLE

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """softmax(a) Σb − b, and −ln softmax(a)."""
        a, b = inputs
        moved = a - a.amax(-1, keepdim=True)
        total = torch.exp(moved).sum(-1, keepdim=True)
        if slot == 1:
            return (total.log() - moved) / _num_rows(a)
        return (torch.exp(moved) / total * b.sum(-1, keepdim=True) - b) / _num_rows(a)

    def formula(self) -> Label:
        """−bᵀ ln softmax(a)."""
        return Label("−Σᵢ $bᵢ ln softmax($a)ᵢ", r"-{$b}^{\top} \ln\operatorname{softmax}($a)")

    def local_formula(self, slot: int) -> Label:
        """softmax(a) − b."""
        if slot == 1:
            return Label("−ln softmax($a)", r"-\ln\operatorname{softmax}($a)")
        return Label("softmax($a) − $b", r"\operatorname{softmax}($a) - $b")


def _num_rows(a: Tensor) -> int:
    return a.shape[0] if a.ndim == 2 else 1
