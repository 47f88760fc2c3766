"""Softmax and the normalisation layers."""

from __future__ import annotations

from math import prod
from typing import Any

import torch
from torch import Tensor

from thalweg.tape._rule import Adjoints, BlockRule, Call, Rule, Tangents

aten = torch.ops.aten


class Softmax(Rule):
    """p = softmax(x): J = diag(p) − p pᵀ, which is symmetric.

    x̄' = J ȳ' + t − p Σt,   t = ṗ (ȳ − pᵀȳ)
    """

    def __init__(self, call: Call) -> None:
        self._p = call.output.detach()
        self._dim = call.args[1]
        self._centred: Tensor | None = None

    def push(self, tangents: Tangents) -> Tensor:
        """J ẋ."""
        return self._times(tangents[0])

    def pull(self, adjoint: Any) -> Adjoints:
        """J ȳ."""
        return (self._times(adjoint),)

    def anchor(self, adjoint: Any) -> None:
        """ȳ − pᵀȳ."""
        self._centred = adjoint - (self._p * adjoint).sum(self._dim, keepdim=True)

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """See above, in one sum over p ȳ' + t."""
        assert self._centred is not None
        total = self._times(tangents[0]).mul_(self._centred)
        if turned is not None:
            total.addcmul_(self._p, turned)
        return (total.addcmul_(self._p, total.sum(self._dim, keepdim=True), value=-1),)

    def _times(self, tensor: Tensor) -> Tensor:
        moved: Tensor = aten._softmax_backward_data(tensor, self._p, self._dim, self._p.dtype)
        return moved


class LogSoftmax(Rule):
    """y = x − ln Σ eˣ: J = I − 1 pᵀ,   x̄ = ȳ − p Σȳ,   x̄' = ȳ' − p Σȳ' − ṗ Σȳ."""

    def __init__(self, call: Call) -> None:
        self._y = call.output.detach()
        self._p = self._y.exp()
        self._dim = call.args[1]
        self._less: Tensor | None = None

    def push(self, tangents: Tangents) -> Tensor:
        """ẋ − pᵀẋ."""
        (x,) = tangents
        moved: Tensor = x - (self._p * x).sum(self._dim, keepdim=True)
        return moved

    def pull(self, adjoint: Any) -> Adjoints:
        """ȳ − p Σȳ."""
        return (aten._log_softmax_backward_data(adjoint, self._y, self._dim, self._y.dtype),)

    def anchor(self, adjoint: Any) -> None:
        """−Σȳ."""
        self._less = -adjoint.sum(self._dim, keepdim=True)

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """ȳ' − p Σȳ' − ṗ Σȳ."""
        bent = self._p * tangents[0]
        bent.addcmul_(self._p, bent.sum(self._dim, keepdim=True), value=-1)
        bent.mul_(self._less)
        if turned is not None:
            bent.add_(turned).addcmul_(self._p, turned.sum(self._dim, keepdim=True), value=-1)
        return (bent,)

    def in_blocks(self, are_weights: tuple[bool, ...]) -> BlockRule | None:
        """The same, of samples in rows."""
        is_by_rows = self._y.ndim == 2 and self._dim % self._y.ndim == 1
        if any(are_weights) or not is_by_rows or self._less is None:
            return None
        return LogSoftmaxBlock(self._p.unsqueeze(1), self._less.unsqueeze(1))


class LogSoftmaxBlock(BlockRule):
    """`LogSoftmax` of rows for k tangents."""

    def __init__(self, p: Tensor, less: Tensor) -> None:
        self._p, self._less = p, less

    def push(self, tangents: Tangents) -> Tensor:
        """ẋ − pᵀẋ."""
        (x,) = tangents
        moved: Tensor = x - (self._p * x).sum(-1, keepdim=True)
        return moved

    def pull(self, adjoint: Tensor) -> Adjoints:
        """ȳ − p Σȳ."""
        return (torch.addcmul(adjoint, self._p, adjoint.sum(-1, keepdim=True), value=-1),)

    def repull(self, tangents: Tangents, turned: Tensor | None) -> Adjoints:
        """ȳ' − p Σȳ' − ṗ Σȳ."""
        bent = self._p * tangents[0]
        bent.addcmul_(self._p, bent.sum(-1, keepdim=True), value=-1)
        bent.mul_(self._less)
        if turned is not None:
            bent.add_(turned).addcmul_(self._p, turned.sum(-1, keepdim=True), value=-1)
        return (bent,)


class LayerNorm(Rule):
    """y = w x̂ + b with x̂ = (x − mean x)/σ over the last dimensions.

    J = ∂x̂/∂x = (I − 11ᵀ/d − x̂x̂ᵀ/d)/σ is symmetric. With u = w ȳ, x̄ = J u, u' = ẇ ȳ + w ȳ':

        x̄' = J(u' − mean(x̂u)/σ ẋ) − mean(x̂ẋ)/σ x̄ − x̂ mean(x̄ẋ)/σ
    """

    def __init__(self, call: Call) -> None:
        self._x = call.args[0].detach()
        self._shape = call.args[1]
        self._w = None if call.args[2] is None else call.args[2].detach()
        self._has = [call.is_active(place) for place in (0, 2, 3)]
        _, self._mean, self._scale = (t.detach() for t in call.output)
        self._hat = (self._x - self._mean) * self._scale
        self._dims = tuple(range(-len(self._shape), 0))
        self._count = prod(self._shape)
        self._adjoint: Tensor | None = None
        self._back: Tensor | None = None
        self._lean: Tensor | None = None
        self._pushed: tuple[Tensor, Tensor] | None = None

    def push(self, tangents: Tangents) -> tuple[Tensor, None, None]:
        """W J ẋ + ẇ x̂ + ḃ."""
        x, w, b = self._named(tangents)
        total = None if x is None else self._J(x)
        if x is not None and total is not None and self._has[1]:
            self._pushed = x, total  # the backwards half of the product needs it again
        if total is not None and self._w is not None:
            total = total * self._w
        if w is not None:
            total = self._hat * w if total is None else torch.addcmul(total, self._hat, w)
        if b is not None:
            total = b.expand(self._x.shape) if total is None else total + b
        assert total is not None
        return total, None, None

    def pull(self, adjoint: Any) -> Adjoints:
        """J w ȳ, Σ ȳ x̂, Σ ȳ."""
        ones = self._w if self._w is not None else None
        found = aten.native_layer_norm_backward(
            adjoint[0], self._x, self._shape, self._mean, self._scale, ones, ones, self._has
        )
        return self._listed(*found)

    def anchor(self, adjoint: Any) -> None:
        """ȳ, x̄ and mean(x̂u)/σ."""
        self._adjoint = adjoint[0]
        u = adjoint[0] if self._w is None else adjoint[0] * self._w
        self._back = self._J(u)
        self._lean = self._averaged(self._hat, u) * -self._scale

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """See above."""
        assert self._adjoint is not None
        x, w, _ = self._named(tangents)
        up = turned[0] if turned is not None else None
        back: Tensor | None = None
        if self._has[0]:
            assert x is not None
            assert self._lean is not None
            u = x * self._lean
            if w is not None:
                u.addcmul_(self._adjoint, w)
            if up is not None:
                u = u.addcmul_(up, self._w) if self._w is not None else u.add_(up)
            assert self._back is not None
            back = self._J(u)
            back.addcmul_(self._back, self._averaged(self._hat, x) * self._scale, value=-1)
            back.addcmul_(self._hat, self._averaged(self._back, x) * self._scale, value=-1)
        return self._listed(back, self._weight(x, up), None if up is None else self._summed(up))

    def _weight(self, x: Tensor | None, up: Tensor | None) -> Tensor | None:
        """Σ (ȳ' x̂ + ȳ ẋ̂)."""
        if not self._has[1]:
            return None
        total = None if up is None else up * self._hat
        if x is not None:
            assert self._adjoint is not None
            last, self._pushed = self._pushed, None
            turn = self._adjoint * (last[1] if last and last[0] is x else self._J(x))
            total = turn if total is None else total.add_(turn)
        return None if total is None else self._summed(total)

    def _J(self, tensor: Tensor) -> Tensor:
        mask = [True, False, False]
        found: Tensor = aten.native_layer_norm_backward(
            tensor, self._x, self._shape, self._mean, self._scale, None, None, mask
        )[0]
        return found

    def _averaged(self, a: Tensor, b: Tensor) -> Tensor:
        mean: Tensor = (a * b).sum(self._dims, keepdim=True) / self._count
        return mean

    def _summed(self, tensor: Tensor) -> Tensor:
        return tensor.sum_to_size(self._shape)

    def _named(self, tangents: Tangents) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rest = iter(tangents)
        x, w, b = (next(rest) if there else None for there in self._has)
        return x, w, b

    def _listed(self, *found: Tensor | None) -> Adjoints:
        return tuple(t for t, there in zip(found, self._has, strict=True) if there)


def layer_norm(call: Call) -> Rule:
    """The rule of a layer normalisation."""
    return LayerNorm(call)


class FixedNorm(Rule):
    """Batch normalisation with fixed statistics: y = w x̂ + b, x̂ = (x − μ)/σ by channel."""

    def __init__(self, call: Call) -> None:
        x, w, b, mean, variance = call.args[:5]
        eps = call.args[7]
        self._shape = (1, -1) + (1,) * (x.ndim - 2)
        self._scale = (variance + eps).rsqrt().reshape(self._shape)
        self._hat = (x.detach() - mean.reshape(self._shape)) * self._scale
        weight = self._scale if w is None else self._scale * w.detach().reshape(self._shape)
        self._gain = weight
        self._has = [call.is_active(place) for place in range(3)]
        self._dims = tuple(d for d in range(x.ndim) if d != 1)
        self._adjoint: Tensor | None = None
        self.is_linear = not (self._has[0] and self._has[1])
        del b

    def push(self, tangents: Tangents) -> tuple[Tensor, None, None]:
        """W ẋ/σ + ẇ x̂ + ḃ."""
        x, w, b = self._named(tangents)
        total = None if x is None else x * self._gain
        if w is not None:
            w = w.reshape(self._shape)
            total = self._hat * w if total is None else total.addcmul_(self._hat, w)
        if b is not None:
            b = b.reshape(self._shape)
            total = b.expand(self._hat.shape) if total is None else total.add_(b)
        assert total is not None
        return total, None, None

    def pull(self, adjoint: Any) -> Adjoints:
        """W ȳ/σ, Σ ȳ x̂, Σ ȳ."""
        (y, *_) = adjoint
        return self._listed(
            y * self._gain if self._has[0] else None,
            (y * self._hat).sum(self._dims) if self._has[1] else None,
            y.sum(self._dims) if self._has[2] else None,
        )

    def anchor(self, adjoint: Any) -> None:
        """ȳ/σ."""
        self._adjoint = adjoint[0] * self._scale

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """W ȳ'/σ + ẇ ȳ/σ, Σ (ȳ' x̂ + ȳ ẋ/σ), Σ ȳ'."""
        first = None if turned is None else self.pull(turned)
        if self.is_linear:
            return first or ()
        x, w, _ = self._named(tangents)
        assert x is not None
        assert w is not None
        assert self._adjoint is not None
        left = self._adjoint * w.reshape(self._shape)
        right = (self._adjoint * x).sum(self._dims)
        if first is None:
            return self._listed(left, right, None)
        found = iter(first)
        return self._listed(
            left.add_(next(found)),  # type: ignore[arg-type]
            right.add_(next(found)),  # type: ignore[arg-type]
            next(found) if self._has[2] else None,
        )

    def _named(self, tangents: Tangents) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rest = iter(tangents)
        x, w, b = (next(rest) if there else None for there in self._has)
        return x, w, b

    def _listed(self, *found: Tensor | None) -> Adjoints:
        return tuple(t for t, there in zip(found, self._has, strict=True) if there)


def batch_norm(call: Call) -> Rule | None:
    """The rule of a batch normalisation that uses its running statistics."""
    is_training = call.args[5]
    return None if is_training or call.args[3] is None else FixedNorm(call)
