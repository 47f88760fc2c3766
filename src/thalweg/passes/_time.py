"""A recurrent layer step by step in time: what a gradient goes through on its way back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg._reading import reading

RECURRENT = (nn.RNN, nn.LSTM, nn.GRU)


@dataclass(frozen=True)
class StepPass:
    """One step in time of a recurrent layer, over all samples.

    Args:
        step: t, from 0.
        scale: root mean square of the hidden state h_t of the last of its layers.
        gradient_norm: ‖∂L/∂h_t‖ of all its layers, and of the memories c_t of an LSTM too, as they
            are handed to the next step: everything that comes back through later steps included
            [loss/state].
    """

    step: int
    scale: float
    gradient_norm: float


@dataclass(frozen=True)
class TimePass:
    """A recurrent layer along time.

    Args:
        name: the module.
        kind: its class.
        steps: in the order of time; where batches differ in length, as many as the longest.
    """

    name: str
    kind: str
    steps: tuple[StepPass, ...]


def along_time(problem: Problem) -> tuple[TimePass, ...]:
    """Scale and gradient of every recurrent layer at every step, by running it step by step.

        ∂L/∂h_t = (∂h_{t+1}/∂h_t)ᵀ ∂L/∂h_{t+1} + what the output at t says directly

    Args:
        problem: a network with `nn.RNN`, `nn.LSTM` or `nn.GRU` layers of one direction. (Cells in
            a loop of the user's own are layers of a `Pass`, named `cell`, `cell#2`, …)

    Returns:
        One for each recurrent layer, in the order of running.

    Raises:
        ProblemError: if there is none, one runs in both directions, or is fed packed sequences.

    Cost: 4/3 gradients, of which one gradient runs step by step.

    Source: Pascanu, Mikolov, Bengio 2013, "On the difficulty of training recurrent neural
    networks", eq. 4.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> class Last(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.rnn = nn.RNN(2, 3, batch_first=True)
        ...     def forward(self, x):
        ...         return self.rnn(x)[0][:, -1]
        >>> data = (torch.ones(4, 6, 2), torch.ones(4, 3))
        >>> (found,) = along_time(thalweg.Problem(Last(), nn.functional.mse_loss, data))
        >>> found.name, len(found.steps)
        ('rnn', 6)
    """
    problem.ranks.refuse("along_time(problem)")
    modules = {n: m for n, m in problem.shadow.named_modules() if isinstance(m, RECURRENT)}
    if not modules:
        raise ProblemError(
            "along_time(problem): the model has no nn.RNN, nn.LSTM or nn.GRU; a loop over cells is "
            "read by Pass.of(problem), where every call is a layer"
        )
    for name, module in modules.items():
        if module.bidirectional:
            raise ProblemError(
                f"along_time(problem): {name!r} runs in both directions of time, so that a step "
                f"has no before; read a model whose layer is one-directional"
            )
    problem.check()
    params, reduction = problem.parameters, problem.reduction
    sums: dict[str, list[_Sums]] = {}
    with reading():
        counts = []
        for batch in problem.batches:
            with torch.no_grad():
                output = problem.forward(params, batch).output
            counts.append(reduction.count(batch, output))
        for batch, weight in zip(problem.batches, reduction.weights(counts), strict=True):
            states: dict[str, list[_State]] = {}
            with _step_by_step(problem.shadow, states):
                leaves = {name: p.detach().requires_grad_() for name, p in params.items()}
                loss = weight * problem.forward(leaves, batch).loss
            for name, run in states.items():
                rows = sums.setdefault(name, [])
                rows.extend(_Sums() for _ in range(len(run) - len(rows)))
                for row, state in zip(rows, run, strict=False):
                    row.add(loss, state)
    return tuple(
        TimePass(
            name,
            type(modules[name]).__name__,
            tuple(
                StepPass(t, sqrt(row.square / max(row.count, 1)), sqrt(row.gradient))
                for t, row in enumerate(rows)
            ),
        )
        for name, rows in sums.items()
    )


_State = tuple[Tensor, ...]
"""h_t of all layers, and c_t of an LSTM."""


@dataclass
class _Sums:
    """Over batches, at one step."""

    square: float = 0.0
    count: int = 0
    gradient: float = 0.0

    def add(self, loss: Tensor, state: _State) -> None:
        gradients = torch.autograd.grad(loss, state, retain_graph=True, materialize_grads=True)
        top = state[0][-1].detach()
        self.square += float(top.double().square().sum())
        self.count += top.numel()
        self.gradient += sum(float(g.double().square().sum()) for g in gradients)


@contextmanager
def _step_by_step(model: nn.Module, states: dict[str, list[_State]]) -> Iterator[None]:
    """Runs the recurrent layers of a model one step at a time, and keeps their hidden states."""
    changed = [(n, m) for n, m in model.named_modules() if isinstance(m, RECURRENT)]
    for name, module in changed:
        vars(module)["forward"] = _unrolled(name, module, states)
    try:
        yield
    finally:
        for _, module in changed:
            vars(module).pop("forward", None)


def _unrolled(
    name: str, module: nn.RNNBase, states: dict[str, list[_State]]
) -> Callable[..., tuple[Tensor, Any]]:
    whole = type(module).forward

    def forward(input: Any, hx: Any = None) -> tuple[Tensor, Any]:
        if isinstance(input, PackedSequence):
            raise ProblemError(
                f"along_time(problem): {name!r} is fed packed sequences, whose steps have "
                f"different numbers of samples; feed it padded ones"
            )
        axis = 1 if module.batch_first and input.ndim == 3 else 0
        kept = states.setdefault(name, [])
        outputs = []
        for step in input.split(1, dim=axis):
            output, hx = whole(module, step, hx)
            state = hx if isinstance(hx, tuple) else (hx,)
            kept.append(state)
            # What reads the output at this step reads the state, whose gradient is asked for.
            outputs.append(state[0][-1].reshape(output.shape))
        return torch.cat(outputs, dim=axis), hx

    return forward
