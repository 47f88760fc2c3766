"""Normalisations: entries made to have mean 0 and variance 1 within groups."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from thalweg.sheet._operation import Form, Operation
from thalweg.symbolic import Label


@dataclass(frozen=True, eq=False)
class Standardised(Operation):
    """y = (a − μ)/s with s² = mean (a − μ)² + ε within each group; without μ, y = a/s, s² = mean a² + ε.

    ∂L/∂a = (δ − mean δ − y ⊙ mean(δ ⊙ y))/s, the means within each group; without μ the first of
    them is left away.

    Args:
        title: in a sentence, with what is a group.
        shape: the input is seen in; None for its own.
        dims: of that shape, over which a group extends.
        eps: ε.
        is_centred: whether μ is taken away.
        call: the same by torch.

    Source: Ioffe and Szegedy 2015, section 3, the equations of backpropagation; Ba, Kiros and
    Hinton 2016; Zhang and Sennrich 2019 without μ.
    """

    title: str
    shape: tuple[int, ...] | None
    dims: tuple[int, ...]
    eps: float
    is_centred: bool
    call: Callable[..., Tensor]

    def _seen(self, a: Tensor) -> Tensor:
        return a if self.shape is None else a.reshape(self.shape)

    def _mean(self, a: Tensor) -> Tensor:
        return a.mean(self.dims, keepdim=True)

    def _spread(self, a: Tensor) -> tuple[Tensor, Tensor]:
        """A − μ, and s."""
        seen = self._seen(a)
        centred = seen - self._mean(seen) if self.is_centred else seen
        return centred, (self._mean(centred**2) + self.eps) ** 0.5

    def value(self, *inputs: Tensor) -> Tensor:
        """(a − μ)/s."""
        centred, s = self._spread(inputs[0])
        return (centred / s).reshape(inputs[0].shape)

    def peer(self, *inputs: Tensor) -> Tensor:
        """By torch."""
        return self.call(*inputs)

    def form(self, slot: int) -> Form:
        """By its own rule."""
        return Form.FACTOR

    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """1/s, one for each group."""
        s: Tensor = 1 / self._spread(inputs[0])[1]
        return s.reshape(-1) if s.numel() > 1 else s.reshape(())

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """(δ − mean δ − y ⊙ mean(δ ⊙ y))/s."""
        s = self._spread(inputs[0])[1]
        d, y = self._seen(delta), self._seen(output)
        rest = d - y * self._mean(d * y)
        if self.is_centred:
            rest = rest - self._mean(d)
        return (rest / s).reshape(inputs[0].shape)

    def formula(self) -> Label:
        """With μ and s."""
        if not self.is_centred:
            return Label(
                "$a/√(mean $a² + ε)",
                r"\frac{$a}{\sqrt{\operatorname{mean} {$a}^{2} + \varepsilon}}",
            )
        return Label(
            "($a − mean $a)/√(var $a + ε)",
            r"\frac{$a - \operatorname{mean} $a}{\sqrt{\operatorname{var} $a + \varepsilon}}",
        )

    def local_formula(self, slot: int) -> Label:
        """The Jacobian within a group of n; its factor 1/s is what is shown."""
        if not self.is_centred:
            return Label(
                "(I − $y $yᵀ/n)/s, with 1/s",
                r"\tfrac{1}{s}\left(I - \tfrac{1}{n} $y {$y}^{\top}\right),\ \tfrac{1}{s}",
            )
        return Label(
            "(I − 1 1ᵀ/n − $y $yᵀ/n)/s, with 1/s",
            r"\tfrac{1}{s}\left(I - \tfrac{1}{n}\mathbf{1}\mathbf{1}^{\top} - \tfrac{1}{n} $y {$y}^{\top}\right),\ \tfrac{1}{s}",
        )

    def rule(self, slot: int) -> Label:
        """As written above."""
        if not self.is_centred:
            return Label(
                "($d − $y ⊙ mean($d ⊙ $y))/s",
                r"\tfrac{1}{s}\left($d - $y \odot \operatorname{mean}($d \odot $y)\right)",
            )
        return Label(
            "($d − mean $d − $y ⊙ mean($d ⊙ $y))/s",
            r"\tfrac{1}{s}\left($d - \operatorname{mean} $d - $y \odot \operatorname{mean}($d \odot $y)\right)",
        )
