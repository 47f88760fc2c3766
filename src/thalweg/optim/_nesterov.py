"""Nesterov's accelerated gradient."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.optim._first_order import Change, FirstOrder, Memory
from thalweg.optim._heavy_ball import refuse_momentum


class Nesterov(FirstOrder):
    """Momentum that looks ahead: v ← μ v + ∇L, s = −ε (∇L + μ v).

    Args:
        params: parameters, or groups of them with settings of their own.
        lr: ε [param²/loss].
        momentum: 0 ≤ μ < 1.
        maximize: climb instead.
        measured: evaluate the loss for the record; see `FirstOrder`.

    Raises:
        OptimizerError: if μ is out of its range.

    Cost: a gradient; a vector of memory.

    Source: Nesterov 1983, "A method of solving a convex programming problem with convergence rate
    O(1/k²)"; in the form of Sutskever et al. 2013, eq. 3–4, with the parameters held at the point
    looked ahead to, and a constant μ, as in `torch.optim.SGD(nesterov=True)`.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> loss = Nesterov([w], lr=0.1, momentum=0.5).step(lambda: (w**2).sum())
        >>> w.data
        tensor([0.7000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        momentum: float = 0.9,
        *,
        maximize: bool = False,
        measured: bool = False,
    ) -> None:
        refuse_momentum(momentum)
        settings = {"lr": lr, "momentum": momentum, "maximize": maximize}
        super().__init__(params, settings, measured=measured)

    def _begin(self, p: nn.Parameter) -> Memory:
        return {"velocity": torch.zeros_like(p)}

    def _change(self, gradient: Tensor, memory: Memory, settings: Mapping[str, Any]) -> Change:
        step, velocity = nesterov_step(
            gradient, memory["velocity"], settings["lr"], settings["momentum"]
        )
        return step, {"velocity": velocity}


def nesterov_step(
    gradient: Tensor, velocity: Tensor, lr: float | Tensor, momentum: float
) -> tuple[Tensor, Tensor]:
    """V' = μ v + g, s = −ε (g + μ v').

    Args:
        gradient: g, of any shape.
        velocity: v, 0 at first.
        lr: ε.
        momentum: μ.

    Returns:
        The step s and v', of the same shape.

    Example:
        >>> import torch
        >>> nesterov_step(torch.tensor([1.0]), torch.tensor([2.0]), 0.5, 0.5)
        (tensor([-1.]), tensor([2.]))
    """
    velocity = momentum * velocity + gradient
    return -lr * (gradient + momentum * velocity), velocity
