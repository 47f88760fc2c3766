"""Operations that are linear: sums, and everything that only moves elements about."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.tape._rule import Adjoints, BlockRule, Call, Linear, Rule, Tangents, summed_to

aten = torch.ops.aten


def reshaped(call: Call) -> Rule:
    """view, reshape, flatten."""
    before, after = call.args[0].shape, call.output.shape
    return Linear(lambda t: t.reshape(after), lambda a: (a.reshape(before),))


class WeightTransposed(BlockRule):
    """Wᵀ for k weights."""

    makes_weights = True

    def push(self, tangents: Tangents) -> Tensor:
        """Ẇᵀ."""
        return tangents[0].mT

    def pull(self, adjoint: Tensor) -> Adjoints:
        """W̄ᵀ."""
        return (adjoint.mT,)

    def repull(self, tangents: Tangents, turned: Tensor | None) -> Adjoints:  # noqa: ARG002
        """As the pull."""
        return (None,) if turned is None else self.pull(turned)


class Transposed(Linear):
    """The transpose of a matrix."""

    def __init__(self) -> None:
        super().__init__(lambda t: t.t(), lambda a: (a.t(),))

    def in_blocks(self, are_weights: tuple[bool, ...]) -> BlockRule | None:
        """Of weights; the transpose of samples would turn them into columns."""
        return WeightTransposed() if are_weights == (True,) else None


def transposed(call: Call) -> Rule:
    """t, transpose."""
    if call.function is aten.t.default and call.output.ndim == 2:
        return Transposed()
    if call.function is aten.t.default:
        return Linear(lambda t: t.t(), lambda a: (a.t(),))
    i, j = call.args[1:3]
    return Linear(lambda t: t.transpose(i, j), lambda a: (a.transpose(i, j),))


def permuted(call: Call) -> Rule:
    """Permute."""
    dims = [d % call.output.ndim for d in call.args[1]]
    back = sorted(range(len(dims)), key=dims.__getitem__)
    return Linear(lambda t: t.permute(dims), lambda a: (a.permute(back),))


def expanded(call: Call) -> Rule:
    """Expand."""
    before, after = call.args[0].shape, call.output.shape
    return Linear(lambda t: t.expand(after), lambda a: (summed_to(a, before),))


def copied(call: Call) -> Rule:
    """clone, contiguous, alias: the same numbers, laid out as the operation lays them out."""
    function, rest, kwargs = call.function, call.args[1:], call.kwargs
    return Linear(lambda t: function(t, *rest, **kwargs), lambda a: (a,))


def converted(call: Call) -> Rule:
    """A change of dtype or device."""
    x, y = call.args[0], call.output
    return Linear(lambda t: t.to(y.device, y.dtype), lambda a: (a.to(x.device, x.dtype),))


def added(call: Call) -> Rule:
    """A + α b and a − α b, with broadcasting."""
    alpha = float(call.kwargs.get("alpha", 1))
    if call.function in (aten.sub.Tensor, aten.sub.Scalar):
        alpha = -alpha
    shape = call.output.shape
    factors = [f for place, f in ((0, 1.0), (1, alpha)) if call.is_active(place)]
    shapes = [call.args[place].shape for place in (0, 1) if call.is_active(place)]

    def push(*tangents: Tensor) -> Tensor:
        if len(tangents) == 2:
            return torch.add(tangents[0], tangents[1], alpha=alpha)
        scaled = tangents[0] if factors[0] == 1 else factors[0] * tangents[0]
        return scaled.expand(shape)

    def pull(adjoint: Tensor) -> Adjoints:
        return tuple(
            summed_to(adjoint if f == 1 else f * adjoint, s)
            for f, s in zip(factors, shapes, strict=True)
        )

    return Linear(push, pull)


def negated(_: Call) -> Rule:
    """−a."""
    return Linear(lambda t: -t, lambda a: (-a,))


def joined(call: Call) -> Rule | None:
    """Cat along a dimension, of tensors that all depend on the parameters."""
    parts, dim = call.args[0], call.argument(1, 0)
    if len(call.active) != len(parts):
        return None
    sizes = [part.shape[dim] for part in parts]
    return Linear(lambda *t: torch.cat(t, dim), lambda a: tuple(a.split(sizes, dim)))


def divided(call: Call) -> Rule:
    """Split and its kind: one tensor in several parts."""
    function, rest, kwargs = call.function, call.args[1:], call.kwargs
    shapes = [part.shape for part in call.output]
    dim = call.argument(2, 0)

    def pull(adjoints: tuple[Tensor | None, ...]) -> Adjoints:
        some = next(a for a in adjoints if a is not None)
        parts = [
            some.new_zeros(shape) if a is None else a
            for a, shape in zip(adjoints, shapes, strict=True)
        ]
        return (torch.cat(parts, dim),)

    return Linear(lambda t: tuple(function(t, *rest, **kwargs)), pull)


def unbound(call: Call) -> Rule:
    """Unbind: one tensor as its slices along a dimension."""
    dim = call.argument(1, 0)
    shape = call.output[0].shape

    def pull(adjoints: tuple[Tensor | None, ...]) -> Adjoints:
        some = next(a for a in adjoints if a is not None)
        zero = some.new_zeros(()).expand(shape)
        return (torch.stack([zero if a is None else a for a in adjoints], dim),)

    return Linear(lambda t: t.unbind(dim), pull)


def summed(call: Call) -> Rule:
    """Sum and mean over all or some dimensions."""
    function, rest, kwargs = call.function, call.args[1:], call.kwargs
    x, y = call.args[0], call.output
    is_mean = function in (aten.mean.default, aten.mean.dim)
    scale = y.numel() / x.numel() if is_mean else 1.0
    kept = torch.Size(_kept_shape(x, y, call.argument(1), call.argument(2, False)))

    def pull(adjoint: Tensor) -> Adjoints:
        return ((adjoint if scale == 1 else adjoint * scale).reshape(kept).expand(x.shape),)

    return Linear(lambda t: function(t, *rest, **kwargs), pull)


def _kept_shape(x: Tensor, y: Tensor, dims: Any, is_kept: bool) -> tuple[int, ...]:
    """The shape of the output with the summed dimensions as ones."""
    if is_kept:
        return tuple(y.shape)
    gone = {d % x.ndim for d in (dims or range(x.ndim))}
    return tuple(1 if d in gone else size for d, size in enumerate(x.shape))


def masked(call: Call) -> Rule | None:
    """masked_fill with a constant."""
    if len(call.active) != 1 or not call.is_active(0):
        return None
    mask = call.args[1]

    def fill(tensor: Tensor) -> Tensor:
        return tensor.expand(torch.broadcast_shapes(tensor.shape, mask.shape)).masked_fill(mask, 0)

    shape = call.args[0].shape
    return Linear(fill, lambda a: (summed_to(a.masked_fill(mask, 0), shape),))


def embedded(call: Call) -> Rule | None:
    """Rows of a table by index; a padding row, which autograd holds still, is left to autograd."""
    if not call.is_active(0) or call.argument(2, -1) >= 0 or call.argument(3, False):
        return None
    index, num_rows = call.args[1], call.args[0].shape[0]
    return Linear(
        lambda t: aten.embedding(t, index),
        lambda a: (aten.embedding_dense_backward(a, index, num_rows, -1, False),),
    )


def max_pooled(call: Call) -> Rule:
    """Maxima over windows: at one input each is a choice of elements, and a choice is linear."""
    x, rest = call.args[0].detach(), call.args[1:]
    defaults = ((), (), 0, 1, False)
    window = (*rest, *defaults[len(rest) :])
    index = call.output[1]
    flat = index.flatten(-2)

    def push(tangent: Tensor) -> tuple[Tensor, None]:
        return tangent.flatten(-2).gather(-1, flat).reshape(index.shape), None

    def pull(adjoints: Any) -> Adjoints:
        return (aten.max_pool2d_with_indices_backward(adjoints[0], x, *window, index),)

    return Linear(push, pull)


def picked(call: Call) -> Rule | None:
    """Negative log-likelihood: a weighted choice of log-probabilities."""
    if len(call.active) != 1 or not call.is_active(0):
        return None
    x = call.args[0].detach()
    target, weight, reduction, ignored = call.args[1:5]
    function, total = call.function, call.output[1]
    if function is aten.nll_loss_forward.default:
        backward = aten.nll_loss_backward
    else:
        backward = aten.nll_loss2d_backward

    def push(tangent: Tensor) -> tuple[Tensor, None]:
        return function(tangent, target, weight, reduction, ignored)[0], None

    def pull(adjoints: Any) -> Adjoints:
        return (backward(adjoints[0], x, target, weight, reduction, ignored, total),)

    return Linear(push, pull)


def by_autograd(call: Call) -> Rule | None:
    """Any other linear operation of one tensor: pushed by itself, pulled by autograd."""
    if len(call.active) != 1 or not call.is_active(0) or not isinstance(call.output, Tensor):
        return None
    function, rest, kwargs = call.function, call.args[1:], call.kwargs
    with torch.enable_grad():
        leaf = call.args[0].detach().requires_grad_()
        output = function(leaf, *rest, **kwargs)

    def pull(adjoint: Tensor) -> Adjoints:
        return tuple(torch.autograd.grad(output, leaf, adjoint, retain_graph=True))

    return Linear(lambda t: function(t, *rest, **kwargs), pull)
