"""Functions that act on every element alone, and losses that sum them up."""

from __future__ import annotations

from math import pi
from typing import Any

import torch
from torch import Tensor

from thalweg.tape._rule import Adjoints, BlockRule, Call, Rule, Tangents

aten = torch.ops.aten


class Elementwise(Rule):
    """yᵢ = φ(xᵢ): ẏ = φ' ẋ,   x̄' = φ' ȳ' + φ'' ȳ ẋ.

    φ' and φ'' are computed once, in closed form for the usual functions, otherwise by autograd; a
    product then costs three multiplications.
    """

    def __init__(self, call: Call) -> None:
        if call.function in _FROM_OUTPUT:
            self._slope, self._curve = _FROM_OUTPUT[call.function](call.output.detach())
        elif call.function is aten.gelu.default and not call.kwargs:
            self._slope, self._curve = _gelu(call.args[0].detach())
        else:
            self._slope, self._curve = self._by_autograd(call)
        self._bend: Tensor | None = None
        self.is_linear = self._curve is None

    @staticmethod
    def _by_autograd(call: Call) -> tuple[Tensor, Tensor | None]:
        (x,) = call.active
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            args = tuple(leaf if a is x else a for a in call.args)
            y = call.function(*args, **call.kwargs)
            (slope,) = torch.autograd.grad(y, leaf, torch.ones_like(y), create_graph=True)
            return slope.detach(), _curve(slope, leaf)

    def push(self, tangents: Tangents) -> Tensor:
        """φ' ẋ."""
        return self._slope * tangents[0]

    def pull(self, adjoint: Any) -> Adjoints:
        """φ' ȳ."""
        return (self._slope * adjoint,)

    def anchor(self, adjoint: Any) -> None:
        """φ'' ȳ, which takes the place of φ''."""
        if self._curve is not None:
            self._bend, self._curve = self._curve * adjoint, None

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """φ' ȳ' + φ'' ȳ ẋ."""
        if self._bend is None:
            return (None,) if turned is None else (self._slope * turned,)
        bent = self._bend * tangents[0]
        return (bent if turned is None else bent.addcmul_(self._slope, turned),)

    def in_blocks(self, are_weights: tuple[bool, ...]) -> BlockRule | None:
        """The same, of samples."""
        if any(are_weights) or not self._slope.ndim:
            return None
        bend = None if self._bend is None else self._bend.unsqueeze(1)
        return ElementwiseBlock(self._slope.unsqueeze(1), bend)


class ElementwiseBlock(BlockRule):
    """`Elementwise` and `Separable` for k tangents: φ' and φ''ȳ are the same for all of them."""

    def __init__(self, slope: Tensor, bend: Tensor | None) -> None:
        self._slope, self._bend = slope, bend

    def push(self, tangents: Tangents) -> Tensor:
        """φ' ẋ."""
        return self._slope * tangents[0]

    def pull(self, adjoint: Tensor) -> Adjoints:
        """φ' ȳ."""
        return (self._slope * adjoint,)

    def repull(self, tangents: Tangents, turned: Tensor | None) -> Adjoints:
        """φ' ȳ' + φ'' ȳ ẋ."""
        if self._bend is None:
            return (None,) if turned is None else self.pull(turned)
        bent = self._bend * tangents[0]
        return (bent if turned is None else bent.addcmul_(self._slope, turned),)


class LossBlock(ElementwiseBlock):
    """The end of a network, whose adjoint is 1 whatever the tangent."""

    def push(self, tangents: Tangents) -> Tensor:
        """Nobody reads the tangent of the loss."""
        raise NotImplementedError

    def pull(self, adjoint: Tensor) -> Adjoints:
        """Nothing turns the adjoint of the loss."""
        raise NotImplementedError


class Separable(Rule):
    """y = Σᵢ φᵢ(xᵢ), a loss against a fixed target: a gradient φ' and a diagonal Hessian φ''."""

    def __init__(self, call: Call) -> None:
        (x,) = call.active
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            args = tuple(leaf if a is x else a for a in call.args)
            (slope,) = torch.autograd.grad(
                call.function(*args, **call.kwargs), leaf, create_graph=True
            )
            self._curve = _curve(slope, leaf)
        self._slope = slope.detach()
        self._bend: Tensor | None = None

    def push(self, tangents: Tangents) -> Tensor:
        """φ'ᵀ ẋ."""
        return (self._slope * tangents[0]).sum()

    def pull(self, adjoint: Any) -> Adjoints:
        """ȳ φ'."""
        return (adjoint * self._slope,)

    def anchor(self, adjoint: Any) -> None:
        """ȳ φ'', which takes the place of φ''."""
        if self._curve is not None:
            self._bend, self._curve = adjoint * self._curve, None

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """ȳ' φ' + ȳ φ'' ẋ."""
        if self._bend is None:
            return (None,) if turned is None else (turned * self._slope,)
        bent = self._bend * tangents[0]
        return (bent if turned is None else bent.add_(turned * self._slope),)

    def in_blocks(self, are_weights: tuple[bool, ...]) -> BlockRule | None:
        """The same, of samples."""
        if any(are_weights) or self._bend is None or not self._slope.ndim:
            return None
        return LossBlock(self._slope.unsqueeze(1), self._bend.unsqueeze(1))


def _tanh(y: Tensor) -> tuple[Tensor, Tensor]:
    slope = 1 - y * y
    return slope, (slope * y).mul_(-2)


def _sigmoid(y: Tensor) -> tuple[Tensor, Tensor]:
    slope = y - y * y
    return slope, slope - 2 * y * slope


def _relu(y: Tensor) -> tuple[Tensor, None]:
    return (y > 0).to(y.dtype), None


def _gelu(x: Tensor) -> tuple[Tensor, Tensor]:
    """φ' = Φ + x p, φ'' = p (2 − x²), with Φ and p of the normal distribution."""
    square = x * x
    density = (square * -0.5).exp_().mul_((2 * pi) ** -0.5)
    slope = torch.erf(x * 0.5**0.5).add_(1.0).mul_(0.5).addcmul_(x, density)
    return slope, density.mul_(2.0 - square)


_FROM_OUTPUT = {
    aten.tanh.default: _tanh, aten.sigmoid.default: _sigmoid, aten.relu.default: _relu,
}  # fmt: skip


def _curve(slope: Tensor, leaf: Tensor) -> Tensor | None:
    """φ'', None where it is zero everywhere."""
    if not slope.requires_grad:
        return None
    (curve,) = torch.autograd.grad(slope, leaf, torch.ones_like(slope))
    return None if curve._is_zerotensor() else curve


ELEMENTWISE = (
    aten.tanh.default, aten.sigmoid.default, aten.relu.default, aten.gelu.default,
    aten.silu.default, aten.elu.default, aten.leaky_relu.default, aten.softplus.default,
    aten.hardtanh.default, aten.hardswish.default, aten.mish.default,
    aten.exp.default, aten.expm1.default, aten.log.default, aten.log1p.default,
    aten.sqrt.default, aten.rsqrt.default, aten.reciprocal.default, aten.sin.default,
    aten.cos.default, aten.erf.default, aten.abs.default, aten.pow.Tensor_Scalar,
    aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default,
)  # fmt: skip

LOSSES = (
    aten.mse_loss.default, aten.huber_loss.default, aten.smooth_l1_loss.default,
    aten.binary_cross_entropy.default, aten.binary_cross_entropy_with_logits.default,
)  # fmt: skip
"""Their reduction is an argument: without one they are elementwise, with one separable."""


def loss(call: Call) -> Rule | None:
    """The rule of a loss, where it is the output that depends on the parameters, not the target."""
    if len(call.active) != 1 or not call.is_active(0):
        return None
    if call.output.ndim:
        return Elementwise(call)
    return Separable(call)
