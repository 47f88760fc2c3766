"""Gates of recurrent layers: how many of their slopes are flat along a sequence."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.passes._activation import SATURATED_BELOW
from thalweg.passes._time import RECURRENT


def flat_gates(problem: Problem) -> dict[str, float]:
    """Share of flat slopes of every recurrent layer's gates and candidate, over samples and steps.

        sigmoid: 4 σ(a)(1 − σ(a)) < 0.01        tanh: 1 − tanh²(a) < 0.01

    with a = W_ih x_t + b_ih + W_hh h_{t−1} + b_hh. Layers of one direction and one depth are read,
    whose states are their outputs; others are left out.

    Args:
        problem: a network with recurrent layers, in the mode that it is in.

    Returns:
        By the name of the layer; none for a network without such layers.

    Cost: a forward pass, and the layers' products once more.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> class Last(nn.Module):
        ...     def __init__(self, scale):
        ...         super().__init__()
        ...         self.rnn = nn.GRU(2, 3, batch_first=True)
        ...         _ = [nn.init.constant_(p, scale) for p in self.rnn.parameters()]
        ...     def forward(self, x):
        ...         return self.rnn(x)[0][:, -1]
        >>> data = (torch.ones(4, 6, 2), torch.ones(4, 3))
        >>> flat_gates(thalweg.Problem(Last(50.0), nn.functional.mse_loss, data))
        {'rnn': 1.0}
    """
    counts: dict[str, list[float]] = {}
    model = problem.shadow
    handles = [
        module.register_forward_hook(partial(_count, counts.setdefault(name, [0.0, 0.0])))
        for name, module in model.named_modules()
        if isinstance(module, RECURRENT) and _is_plain(module)
    ]
    if not handles:
        return {}
    try:
        with reading(), torch.no_grad():
            for batch in problem.batches:
                problem.forward(problem.parameters, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {name: flat / total for name, (flat, total) in counts.items() if total}


def _count(count: list[float], module: nn.Module, args: Any, output: Any) -> None:
    """Adds the flat slopes of a call, and all of them."""
    assert isinstance(module, nn.RNNBase), "only such are listened to"
    if isinstance(args[0], Tensor):  # and no packed sequences
        for slopes in _slopes(module, args, output[0]):
            count[0] += float((slopes < SATURATED_BELOW).sum())
            count[1] += slopes.numel()


def _is_plain(module: nn.RNNBase) -> bool:
    """Whether the layer's outputs are its states, each of which led to the next."""
    is_rectified = isinstance(module, nn.RNN) and module.nonlinearity != "tanh"
    return not (module.bidirectional or module.num_layers > 1 or module.proj_size or is_rectified)


def _slopes(module: nn.RNNBase, args: Any, output: Tensor) -> Iterator[Tensor]:
    """Slopes of gates and candidate over their steepest, for all samples and steps."""
    x = args[0]
    time = 0 if x.ndim == 2 or not module.batch_first else 1
    before = output.narrow(time, 0, output.shape[time] - 1)
    first = torch.zeros_like(output.narrow(time, 0, 1))
    if len(args) > 1 and args[1] is not None:
        given = args[1][0] if isinstance(args[1], tuple) else args[1]
        first = given.reshape(-1, given.shape[-1]).reshape(first.shape)
    weights = dict(module.named_parameters())
    into = F.linear(x, weights["weight_ih_l0"], weights.get("bias_ih_l0"))
    back = F.linear(
        torch.cat([first, before], time), weights["weight_hh_l0"], weights.get("bias_hh_l0")
    )
    size = module.hidden_size
    if isinstance(module, nn.GRU):
        reset, update, new = into.split(size, -1)
        reset_back, update_back, new_back = back.split(size, -1)
        reset, update = torch.sigmoid(reset + reset_back), torch.sigmoid(update + update_back)
        yield from (4 * gate * (1 - gate) for gate in (reset, update))
        yield 1 - torch.tanh(new + reset * new_back).square()
        return
    parts = (into + back).split(size, -1)
    if isinstance(module, nn.LSTM):
        gate_in, forget, cell, out = parts
        gates = (torch.sigmoid(each) for each in (gate_in, forget, out))
        yield from (4 * gate * (1 - gate) for gate in gates)
        yield 1 - torch.tanh(cell).square()
        return
    yield 1 - torch.tanh(parts[0]).square()
