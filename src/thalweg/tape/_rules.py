"""Which operation has which rule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from thalweg.tape import _bilinear, _elementwise, _linear, _normalised
from thalweg.tape._local import Local
from thalweg.tape._rule import Call, Rule

aten = torch.ops.aten

RULES: dict[Any, Callable[[Call], Rule | None]] = {
    **dict.fromkeys(_elementwise.ELEMENTWISE, _elementwise.Elementwise),
    **dict.fromkeys(_elementwise.LOSSES, _elementwise.loss),
    aten.mm.default: _bilinear.MatrixProduct,
    aten.bmm.default: _bilinear.MatrixProduct,
    aten.addmm.default: _bilinear.MatrixProduct,
    aten.mul.Tensor: _bilinear.element_product,
    aten.mul.Scalar: _bilinear.element_product,
    aten.div.Tensor: _bilinear.quotient,
    aten.div.Scalar: _bilinear.quotient,
    aten.convolution.default: _bilinear.Convolution,
    aten.add.Tensor: _linear.added,
    aten.add.Scalar: _linear.added,
    aten.sub.Tensor: _linear.added,
    aten.sub.Scalar: _linear.added,
    aten.neg.default: _linear.negated,
    aten.view.default: _linear.reshaped,
    aten._unsafe_view.default: _linear.reshaped,
    aten.unsqueeze.default: _linear.reshaped,
    aten.squeeze.default: _linear.reshaped,
    aten.squeeze.dim: _linear.reshaped,
    aten.squeeze.dims: _linear.reshaped,
    aten.t.default: _linear.transposed,
    aten.transpose.int: _linear.transposed,
    aten.permute.default: _linear.permuted,
    aten.expand.default: _linear.expanded,
    aten.clone.default: _linear.copied,
    aten.alias.default: _linear.copied,
    aten._to_copy.default: _linear.converted,
    aten.cat.default: _linear.joined,
    aten.split.Tensor: _linear.divided,
    aten.split_with_sizes.default: _linear.divided,
    aten.unbind.int: _linear.unbound,
    aten.sum.default: _linear.summed,
    aten.sum.dim_IntList: _linear.summed,
    aten.mean.default: _linear.summed,
    aten.mean.dim: _linear.summed,
    aten.masked_fill.Scalar: _linear.masked,
    aten.embedding.default: _linear.embedded,
    aten.max_pool2d_with_indices.default: _linear.max_pooled,
    aten.nll_loss_forward.default: _linear.picked,
    aten.nll_loss2d_forward.default: _linear.picked,
    **dict.fromkeys(
        (
            aten.slice.Tensor, aten.select.int, aten.index.Tensor, aten.index_select.default,
            aten.gather.default, aten.constant_pad_nd.default, aten.avg_pool2d.default,
            aten._adaptive_avg_pool2d.default, aten.diagonal.default, aten.tril.default,
            aten.triu.default, aten.flip.default, aten.roll.default, aten.cumsum.default,
        ),
        _linear.by_autograd,
    ),
    aten._softmax.default: _normalised.Softmax,
    aten._safe_softmax.default: _normalised.Softmax,
    aten._log_softmax.default: _normalised.LogSoftmax,
    aten.native_layer_norm.default: _normalised.layer_norm,
    aten.native_batch_norm.default: _normalised.batch_norm,
}  # fmt: skip


def rule_of(call: Call) -> Rule:
    """The rule of an operation; autograd on that operation alone where it has none."""
    build = RULES.get(call.function)
    rule = build(call) if build and _is_plain(call) else None
    return Local(call) if rule is None else rule


def _is_plain(call: Call) -> bool:
    """No tensor is used twice in one call, and a matrix product has no factors."""
    is_product = call.function in (aten.addmm.default, aten.baddbmm.default)
    return not call.is_repeated and not (is_product and call.kwargs)
