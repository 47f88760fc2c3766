"""Products: of matrices, of elements, and convolutions."""

from __future__ import annotations

from typing import Any, TypeVar

import torch
from torch import Tensor

from thalweg.tape._multiply import add_product, laid_out, product
from thalweg.tape._rule import Adjoints, BlockRule, Call, Linear, Rule, Tangents, summed_to

aten = torch.ops.aten

T = TypeVar("T")


class MatrixProduct(Rule):
    """Y = A B (+ c), for matrices or stacks of them.

    Ẏ = Ȧ B + A Ḃ + ċ,   Ā' = Ȳ' Bᵀ + Ȳ Ḃᵀ,   B̄' = Aᵀ Ȳ' + Ȧᵀ Ȳ,   c̄' = Σ Ȳ'
    """

    def __init__(self, call: Call) -> None:
        offset = 1 if call.function is aten.addmm.default else 0
        self._A, self._B = call.args[offset].detach(), call.args[offset + 1].detach()
        self._has_A, self._has_B = call.is_active(offset), call.is_active(offset + 1)
        self._c = call.args[0].shape if offset and call.is_active(0) else None
        # The transpose of a weight matrix: its adjoint is laid out like the weight itself.
        self._is_flipped = self._B.mT.is_contiguous() and not self._B.is_contiguous()
        self._anchored: Tensor | None = None
        self._At: Tensor | None = None
        self._Yt: Tensor | None = None
        self.is_linear = not (self._has_A and self._has_B)

    def push(self, tangents: Tangents) -> Tensor:
        """Ȧ B + A Ḃ + ċ."""
        c, A, B = self._named(tangents)
        if A is None and B is None:
            assert c is not None
            return c.expand(*self._A.shape[:-1], self._B.shape[-1])
        pairs = ((self._A, B), (A, self._B))
        (first, second), *rest = [(a, b) for a, b in pairs if a is not None and b is not None]
        total = product(first, second)
        for a, b in rest:
            add_product(total, a, b)
        return total if c is None else total.add_(c)

    def pull(self, adjoint: Any) -> Adjoints:
        """Ȳ Bᵀ, Aᵀ Ȳ, Σ Ȳ."""
        return self._listed(
            None if self._c is None else summed_to(adjoint, self._c),
            product(adjoint, self._B.mT) if self._has_A else None,
            product(self._turned_A(), adjoint) if self._has_B else None,
        )

    def anchor(self, adjoint: Any) -> None:
        """Keeps Ȳ, where a product reads it."""
        if not self.is_linear:
            self._anchored = adjoint

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """The adjoints' derivative, see above."""
        _, A, B = self._named(tangents)
        left: Tensor | None = None
        if self._has_A:
            left = _plus(None, turned, self._B.mT)
            left = _plus(left, self._anchored, None if B is None else B.mT)
        right = self._right(A, turned) if self._has_B else None
        offset = None if self._c is None or turned is None else summed_to(turned, self._c)
        return self._listed(offset, left, right)

    def _right(self, A: Tensor | None, turned: Tensor | None) -> Tensor | None:
        """Aᵀ Ȳ' + Ȧᵀ Ȳ, each where it is there."""
        first = None if turned is None else product(self._turned_A(), turned)
        if A is None or self._anchored is None:
            return first
        second = product(self._turned_anchored(self._anchored), A)  # the transpose
        if first is None:
            return second.mT
        # The sum lies in memory like the weights that it belongs to.
        return second.add_(first.mT).mT if self._is_flipped else first.add_(second.mT)

    def in_blocks(self, are_weights: tuple[bool, ...]) -> BlockRule | None:
        """Of samples times weights, plus an offset that is one."""
        kinds = self._named(are_weights)
        offset = self._c is None or self._c == self._B.shape[-1:]
        if self._A.ndim != 2 or not offset or any(is_weight is False for is_weight in kinds[::2]):
            return None
        if kinds[1] or (self._anchored is None and not self.is_linear):
            return None
        Y = self._anchored
        Yt = None if Y is None else self._turned_anchored(Y)
        return LinearLayerBlock(self._A, self._B, self._turned_A(), Y, Yt, kinds)

    # What stands on the left of products is laid out for them at the first one, and kept: that is
    # the copy which oneDNN would make then, and again for each product after it.

    def _turned_A(self) -> Tensor:
        if self._At is None:
            self._At = laid_out(self._A.mT, self._B.shape[-1])
        return self._At

    def _turned_anchored(self, Y: Tensor) -> Tensor:
        if self._Yt is None:
            self._Yt = laid_out(Y.mT, self._A.shape[-1])
        return self._Yt

    def _named(self, tangents: tuple[T, ...]) -> tuple[T | None, T | None, T | None]:
        rest = iter(tangents)
        c = next(rest) if self._c is not None else None
        A = next(rest) if self._has_A else None
        B = next(rest) if self._has_B else None
        return c, A, B

    def _listed(self, c: Tensor | None, A: Tensor | None, B: Tensor | None) -> Adjoints:
        flags = (self._c is not None, self._has_A, self._has_B)
        return tuple(t for t, there in zip((c, A, B), flags, strict=True) if there)


class LinearLayerBlock(BlockRule):
    """Y = A W + c for k tangents, A of (m, p) samples and W of (p, q) weights.

    Ẏ is (m, k, q), Ẇ is (k, p, q): all products are those of two matrices.
    """

    def __init__(
        self,
        A: Tensor,
        W: Tensor,
        At: Tensor,
        Y: Tensor | None,
        Yt: Tensor | None,
        kinds: tuple[bool | None, bool | None, bool | None],
    ) -> None:
        self._A, self._W, self._At, self._Y, self._Yt = A, W, At, Y, Yt
        self._has_c, self._has_A, self._has_W = (kind is not None for kind in kinds)

    def push(self, tangents: Tangents) -> Tensor:
        """Ȧ W + A Ẇ + ċ."""
        c, A, W = self._named(tangents)
        m, q = len(self._A), self._W.shape[-1]
        total: Tensor | None = None
        if W is not None:
            total = product(self._A, W.mT.reshape(-1, W.shape[1]).mT).view(m, -1, q)
        if A is not None:
            moved = product(A.reshape(-1, A.shape[-1]), self._W).view(m, -1, q)
            total = moved if total is None else total.add_(moved)
        if c is not None:
            total = c.expand(m, *c.shape) if total is None else total.add_(c)
        assert total is not None
        return total

    def pull(self, adjoint: Tensor) -> Adjoints:
        """Ȳ Wᵀ, Aᵀ Ȳ, Σ Ȳ."""
        left = self._left(adjoint) if self._has_A else None
        right = self._right(adjoint) if self._has_W else None
        return self._listed(adjoint.sum(0) if self._has_c else None, left, right)

    def repull(self, tangents: Tangents, turned: Tensor | None) -> Adjoints:
        """Ȳ' Wᵀ + Ȳ Ẇᵀ, Aᵀ Ȳ' + Ȧᵀ Ȳ, Σ Ȳ'."""
        _, A, W = self._named(tangents)
        left = self._left(turned) if self._has_A and turned is not None else None
        right = self._right(turned) if self._has_W and turned is not None else None
        if A is not None and W is not None:
            m, k, p = A.shape
            # Ẇᵀ of all k beside each other: (q, k p).
            wide = W.permute(2, 0, 1).reshape(-1, k * p)
            assert self._Y is not None
            assert self._Yt is not None
            bent = product(self._Y, wide).view(m, k, p)
            left = bent if left is None else left.add_(bent)
            leant = product(self._Yt, A.reshape(m, k * p)).view(-1, k, p).permute(1, 2, 0)
            right = leant if right is None else right.add_(leant)
        offset = turned.sum(0) if self._has_c and turned is not None else None
        return self._listed(offset, left, right)

    def _left(self, adjoint: Tensor) -> Tensor:
        m, k, q = adjoint.shape
        return product(adjoint.reshape(m * k, q), self._W.mT).view(m, k, -1)

    def _right(self, adjoint: Tensor) -> Tensor:
        m, k, q = adjoint.shape
        return product(self._At, adjoint.reshape(m, k * q)).view(-1, k, q).permute(1, 0, 2)

    def _named(self, tangents: Tangents) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        rest = iter(tangents)
        flags = (self._has_c, self._has_A, self._has_W)
        c, A, W = (next(rest) if there else None for there in flags)
        return c, A, W

    def _listed(self, c: Tensor | None, A: Tensor | None, W: Tensor | None) -> Adjoints:
        flags = (self._has_c, self._has_A, self._has_W)
        return tuple(t for t, there in zip((c, A, W), flags, strict=True) if there)


def _plus(total: Tensor | None, A: Tensor | None, B: Tensor | None) -> Tensor | None:
    """Total += A B, where total is None or a tensor of this file's own; what is None is zero."""
    if A is None or B is None:
        return total
    return product(A, B) if total is None else add_product(total, A, B)


class ElementProduct(Rule):
    """y = a b, with broadcasting."""

    def __init__(self, call: Call) -> None:
        self._a, self._b = call.args[0].detach(), call.args[1].detach()
        self._anchored: Tensor | None = None

    def push(self, tangents: Tangents) -> Tensor:
        """ȧ b + a ḃ."""
        return torch.addcmul(tangents[0] * self._b, self._a, tangents[1])

    def pull(self, adjoint: Any) -> Adjoints:
        """B ȳ, a ȳ."""
        a, b = self._a, self._b
        return summed_to(adjoint * b, a.shape), summed_to(adjoint * a, b.shape)

    def anchor(self, adjoint: Any) -> None:
        """Keeps ȳ."""
        self._anchored = adjoint

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """B ȳ' + ḃ ȳ, a ȳ' + ȧ ȳ."""
        anchored = self._anchored
        assert anchored is not None
        left, right = anchored * tangents[1], anchored * tangents[0]
        if turned is not None:
            left, right = left.addcmul_(turned, self._b), right.addcmul_(turned, self._a)
        return summed_to(left, self._a.shape), summed_to(right, self._b.shape)


def element_product(call: Call) -> Rule | None:
    """The rule of a · b, linear where one of them is constant."""
    a, b = call.args[0], call.args[1]
    if len(call.active) == 2:
        return ElementProduct(call)
    if len(call.active) == 1 and a is not b:
        x, factor = (a, b) if call.is_active(0) else (b, a)
        return _times(x.shape, factor.detach() if isinstance(factor, Tensor) else factor)
    return None  # a square


def quotient(call: Call) -> Rule | None:
    """The rule of a / b for a constant b."""
    if len(call.active) != 1 or not call.is_active(0):
        return None
    b, shape = call.args[1], call.args[0].shape
    b = b.detach() if isinstance(b, Tensor) else b
    # Divided, not multiplied by 1/b, which for an integer b would be of single precision.
    return Linear(lambda t: t / b, lambda a: (summed_to(a / b, shape),))


def _times(shape: torch.Size, factor: Any) -> Rule:
    return Linear(lambda t: t * factor, lambda a: (summed_to(a * factor, shape),))


class Convolution(Rule):
    """Y = W ∗ X + c, or its transpose: bilinear, like a product of matrices."""

    def __init__(self, call: Call) -> None:
        self._x, self._w = call.args[0].detach(), call.args[1].detach()
        self._settings = call.args[3:]
        bias = call.args[2]
        self._bias_sizes = None if bias is None else list(bias.shape)
        self._mask = [call.is_active(place) for place in range(3)]
        self._anchored: Tensor | None = None
        self.is_linear = not (self._mask[0] and self._mask[1])

    def push(self, tangents: Tangents) -> Tensor:
        """W ∗ Ẋ + Ẇ ∗ X + ċ."""
        rest = iter(tangents)
        x, w, c = (next(rest) if there else None for there in self._mask)
        total: Tensor | None = None
        if w is not None:
            total = aten.convolution(self._x, w, c, *self._settings)
        if x is not None:
            bias = c if w is None else None
            moved = aten.convolution(x, self._w, bias, *self._settings)
            total = moved if total is None else total.add_(moved)
        if total is None:
            zero = torch.zeros_like(self._w)
            total = aten.convolution(self._x, zero, c, *self._settings)
        return total

    def pull(self, adjoint: Any) -> Adjoints:
        """Convolutions of the adjoint with W and with X."""
        return self._kept(self._backward(adjoint, self._x, self._w, self._mask))

    def anchor(self, adjoint: Any) -> None:
        """Keeps Ȳ."""
        self._anchored = adjoint

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """The pull of Ȳ', and that of Ȳ with Ẋ and Ẇ in the places of X and W."""
        first = None if turned is None else self.pull(turned)
        if self.is_linear:
            return first or ()
        x, w = tangents[0], tangents[1]
        second = self._kept(self._backward(self._anchored, x, w, [True, True, False]))
        if first is None:
            return second
        return tuple(
            a if b is None or a is None else a.add_(b) for a, b in zip(first, second, strict=True)
        )

    def _backward(self, adjoint: Any, x: Tensor, w: Tensor, mask: list[bool]) -> Any:
        return aten.convolution_backward(adjoint, x, w, self._bias_sizes, *self._settings, mask)

    def _kept(self, found: Any) -> Adjoints:
        return tuple(t for t, there in zip(found, self._mask, strict=True) if there)
