"""Heavy ball: gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg.optim._first_order import Change, FirstOrder, Memory


class HeavyBall(FirstOrder):
    """Momentum: v ← μ v + ∇L, s = −ε v.

    Args:
        params: parameters, or groups of them with settings of their own.
        lr: ε [param²/loss].
        momentum: 0 ≤ μ < 1.
        maximize: climb instead.
        measured: evaluate the loss for the record; see `FirstOrder`.

    Raises:
        OptimizerError: if μ is out of its range.

    Cost: a gradient; a vector of memory.

    Source: Polyak 1964, "Some methods of speeding up the convergence of iteration methods", eq. 9.
    His θ_{k+1} = θ_k − α∇L + β(θ_k − θ_{k−1}) is this one while ε stays; where it changes, what v
    has gathered is scaled by the new one, as in `torch.optim.SGD`.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> opt = HeavyBall([w], lr=0.1, momentum=0.5)
        >>> for _ in range(2):  # v is 2, then 0.5 · 2 + 1.6
        ...     loss = opt.step(lambda: (w**2).sum())
        >>> w.data
        tensor([0.5400])
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
        step, velocity = heavy_ball_step(
            gradient, memory["velocity"], settings["lr"], settings["momentum"]
        )
        return step, {"velocity": velocity}


def heavy_ball_step(
    gradient: Tensor, velocity: Tensor, lr: float | Tensor, momentum: float
) -> tuple[Tensor, Tensor]:
    """V' = μ v + g, s = −ε v'.

    Args:
        gradient: g, of any shape.
        velocity: v, 0 at first.
        lr: ε.
        momentum: μ.

    Returns:
        The step s and v', of the same shape.

    Example:
        >>> import torch
        >>> heavy_ball_step(torch.tensor([1.0]), torch.tensor([2.0]), 0.5, 0.5)
        (tensor([-1.]), tensor([2.]))
    """
    velocity = momentum * velocity + gradient
    return -lr * velocity, velocity


def refuse_momentum(momentum: float) -> None:
    """Refuses μ outside [0, 1)."""
    if not 0.0 <= momentum < 1.0:
        raise OptimizerError(f"momentum={momentum}; give a number from 0 to below 1")
