"""Recurrent layers step by step in time, attention head by head, by the functions they consist of.

Each runs under the follower, so that every gate and every product is a step with its own rule.
"""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from thalweg._errors import FormulaError
from thalweg.sheet._follower import Follower
from thalweg.sheet._products import Product, Shapes

Weights = list[Tensor]


def _lstm_step(follower: Follower, x: Tensor, state: Weights, weights: Weights, at: str) -> Weights:
    """Hochreiter and Schmidhuber 1997 with the forget gate of Gers et al. 2000, as torch has it."""
    h, c = state
    a = _parts(follower, x, weights, "x") + _parts(follower, h, weights, "h")
    i, f, g, o = (part for part in a.chunk(4, -1))
    i, f, o = (
        follower.call(f"{n}_{at}", torch.sigmoid(part))
        for n, part in zip("ifo", (i, f, o), strict=True)
    )
    g = follower.call(f"g_{at}", torch.tanh(g))
    c = follower.call(f"c_{at}", f * c + i * g)
    return [follower.call(f"h_{at}", o * torch.tanh(c)), c]


def _gru_step(follower: Follower, x: Tensor, state: Weights, weights: Weights, at: str) -> Weights:
    """Cho et al. 2014, with the reset gate after the product, as torch has it."""
    (h,) = state
    from_x = _parts(follower, x, weights, "x").chunk(3, -1)
    from_h = _parts(follower, h, weights, "h").chunk(3, -1)
    r = follower.call(f"r_{at}", torch.sigmoid(from_x[0] + from_h[0]))
    u = follower.call(f"u_{at}", torch.sigmoid(from_x[1] + from_h[1]))
    n = follower.call(f"n_{at}", torch.tanh(from_x[2] + r * from_h[2]))
    return [follower.call(f"h_{at}", (1 - u) * n + u * h)]


def _elman_step(function: Callable[[Tensor], Tensor]) -> Callable[..., Weights]:
    def step(follower: Follower, x: Tensor, state: Weights, weights: Weights, at: str) -> Weights:
        a = _parts(follower, x, weights, "x") + _parts(follower, state[0], weights, "h")
        return [follower.call(f"h_{at}", function(a))]

    return step


def _parts(follower: Follower, value: Tensor, weights: Weights, which: str) -> Tensor:
    """W_ih x + b_ih, or W_hh h + b_hh."""
    k = 0 if which == "x" else 1
    if value.ndim > 1:
        total = follower.apply(Product(Shapes.ROWS), value, weights[k])
    else:
        total = follower.apply(Product(Shapes.MATRIX_VECTOR), weights[k], value)
    return total + weights[k + 2] if len(weights) > 2 else total


_STEPS: dict[str, tuple[Callable[..., Weights], int]] = {
    "lstm": (_lstm_step, 2), "gru": (_gru_step, 1), "rnn_tanh": (_elman_step(torch.tanh), 1),
    "rnn_relu": (_elman_step(torch.relu), 1),
}  # fmt: skip


def _name_weights(follower: Follower, weights: Weights, after: str) -> None:
    for weight, name in zip(weights, ("W_ih", "W_hh", "b_ih", "b_hh"), strict=False):
        if follower.is_followed(weight):
            follower.place_of(weight, f"{name}{after}")


def _recurrent(kind: str) -> Callable[..., Any]:
    step, num_states = _STEPS[kind]

    def run(follower: Follower, input: Tensor, hx: Any, params: Any, *rest: Any) -> Any:
        if len(rest) != 6 or not isinstance(params, list | tuple):
            # A packed sequence has its sizes in the second place.
            return NotImplemented
        has_biases, num_layers, dropout, is_training, is_both_ways, is_batch_first = rest
        if dropout and is_training and num_layers > 1:
            raise FormulaError(
                f"{follower.where(kind)} drops at random between its layers in training; call "
                f"model.eval() first"
            )
        starts = list(hx) if isinstance(hx, list | tuple) else [hx]
        each = 4 if has_biases else 2
        num_ways = 2 if is_both_ways else 1
        if len(params) != each * num_layers * num_ways:
            return NotImplemented
        with follower.unrolled():
            along = 1 if is_batch_first else 0
            sequence = [input[:, t] if along else input[t] for t in range(input.shape[along])]
            ends: list[Weights] = []
            for layer in range(num_layers):
                outputs: list[Weights] = []
                for way in range(num_ways):
                    k = layer * num_ways + way
                    weights = list(params[each * k : each * (k + 1)])
                    after = f"_{k + 1}" if num_layers * num_ways > 1 else ""
                    _name_weights(follower, weights, after)
                    state = [start[k] for start in starts]
                    for name, value in zip("hc", state, strict=False):
                        if not follower.is_followed(value):
                            follower.announce(value, f"{name}{after}_0")
                    order = range(len(sequence))
                    found: Weights = []
                    for t in order if way == 0 else reversed(order):
                        state = step(
                            follower,
                            sequence[t],
                            state,
                            weights,
                            f"{after[1:]}{'_' if after else ''}{t + 1}",
                        )
                        found.append(state[0])
                    outputs.append(found if way == 0 else found[::-1])
                    ends.append(state)
                sequence = [
                    torch.cat(list(parts), -1) if num_ways > 1 else parts[0]
                    for parts in zip(*outputs, strict=True)
                ]
            last = [torch.stack([end[n] for end in ends]) for n in range(num_states)]
            return (torch.stack(sequence, along), *last)

    return run


def _cell(kind: str) -> Callable[..., Any]:
    step, num_states = _STEPS[kind]

    def run(follower: Follower, input: Tensor, hx: Any, *weights: Any) -> Any:
        states = list(hx) if isinstance(hx, list | tuple) else [hx]
        used = [w for w in weights if w is not None]
        with follower.unrolled():
            _name_weights(follower, used, "")
            for name, value in zip("hc", states, strict=False):
                if not follower.is_followed(value):
                    follower.announce(value, f"{name}_0")
            found = step(follower, input, states, used, str(follower.count(f"{kind} cell")))
        return found[0] if num_states == 1 else tuple(found)

    return run


def _attention(
    follower: Follower, query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None,
    dropout_p: float = 0.0, is_causal: bool = False, scale: float | None = None,
    enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Softmax(q kᵀ/√d) v."""
    if dropout_p:
        raise FormulaError(
            f"{follower.where('scaled_dot_product_attention')} drops at random; call model.eval() "
            f"first, or give dropout_p=0"
        )
    if enable_gqa:
        return NotImplemented
    scale = 1 / sqrt(query.shape[-1]) if scale is None else scale
    with follower.unrolled():
        scores = query @ key.transpose(-2, -1) * scale
        if is_causal:
            attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool).tril()
        if attn_mask is not None:
            scores = _masked(follower, scores, attn_mask)
        follower.call("s_1", scores)
        p = follower.call("p_1", torch.softmax(scores, -1))
        return p @ value


def _masked(follower: Follower, scores: Tensor, mask: Tensor) -> Tensor:
    """A mask of truths says what is seen; one of numbers is added."""
    if mask.dtype is torch.bool:
        return scores.masked_fill(~mask, float("-inf"))
    if not follower.is_followed(mask):
        follower.announce(mask, "M")
    return scores + mask


def _many_heads(
    follower: Follower, query: Tensor, key: Tensor, value: Tensor, embed_dim_to_check: int,
    num_heads: int, in_proj_weight: Tensor | None, in_proj_bias: Tensor | None, bias_k: Any,
    bias_v: Any, add_zero_attn: bool, dropout_p: float, out_proj_weight: Tensor,
    out_proj_bias: Tensor | None, training: bool = True, key_padding_mask: Tensor | None = None,
    need_weights: bool = True, attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False, q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None, v_proj_weight: Tensor | None = None, static_k: Any = None,
    static_v: Any = None, average_attn_weights: bool = True, is_causal: bool = False,
) -> Any:  # fmt: skip
    """Vaswani et al. 2017, section 3.2.2: q, k and v of each head, its attention, then W_O."""
    odd = (bias_k, bias_v, static_k, static_v)
    if any(part is not None for part in odd) or add_zero_attn:
        return NotImplemented
    if dropout_p and training:
        raise FormulaError(
            f"{follower.where('attention')} is random in training; call model.eval() first"
        )
    is_single = query.ndim == 2
    with follower.unrolled():
        if use_separate_proj_weight or in_proj_weight is None:
            weights: list[Any] = [q_proj_weight, k_proj_weight, v_proj_weight]
            for W, n in zip(weights, "qkv", strict=True):
                follower.place_of(W, f"W_{n}")
        else:
            follower.place_of(in_proj_weight, "W_in")
            weights = [
                follower.call(f"W_{n}", W)
                for n, W in zip("qkv", in_proj_weight.chunk(3), strict=True)
            ]
        biases: list[Any] = [None] * 3
        if in_proj_bias is not None:
            follower.place_of(in_proj_bias, "b_in")
            biases = [
                follower.call(f"b_{n}", b)
                for n, b in zip("qkv", in_proj_bias.chunk(3), strict=True)
            ]
        heads = []
        for n, x, W, b in zip("qkv", (query, key, value), weights, biases, strict=True):
            # (length, batch, features) to (batch, heads, length, features of a head).
            rows = x.unsqueeze(1) if is_single else x
            found = F.linear(rows, W, b)
            length, batch, size = found.shape
            split = found.view(length, batch, num_heads, size // num_heads).permute(1, 2, 0, 3)
            heads.append(follower.call(f"{n}_1", split))
        q, k, v = heads
        scores = q @ k.transpose(-2, -1) * (1 / sqrt(q.shape[-1]))
        if attn_mask is not None:
            mask = (
                attn_mask.view(-1, num_heads, *attn_mask.shape[-2:])
                if attn_mask.ndim == 3
                else attn_mask
            )
            scores = _masked(follower, scores, ~mask if mask.dtype is torch.bool else mask)
        if key_padding_mask is not None:
            padding = key_padding_mask.reshape(-1, 1, 1, key_padding_mask.shape[-1])
            scores = _masked(follower, scores, ~padding if padding.dtype is torch.bool else padding)
        follower.call("s_1", scores)
        p = follower.call("p_1", torch.softmax(scores, -1))
        mixed = (p @ v).permute(2, 0, 1, 3)
        joined = mixed.reshape(*mixed.shape[:2], -1)
        follower.place_of(out_proj_weight, "W_o")
        if out_proj_bias is not None:
            follower.place_of(out_proj_bias, "b_o")
        output = F.linear(joined, out_proj_weight, out_proj_bias)
        seen = (p.mean(1) if average_attn_weights else p) if need_weights else None
        if is_single:
            output, seen = output.squeeze(1), None if seen is None else seen.squeeze(0)
        return output, seen


UNROLLED: dict[str, Callable[..., Any]] = {
    **{kind: _recurrent(kind) for kind in _STEPS},
    "lstm_cell": _cell("lstm"), "gru_cell": _cell("gru"), "rnn_tanh_cell": _cell("rnn_tanh"),
    "rnn_relu_cell": _cell("rnn_relu"), "multi_head_attention_forward": _many_heads,
    "scaled_dot_product_attention": _attention,
}  # fmt: skip
"""By the name of torch's function; each takes what it takes."""
