"""Adam."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg.optim._first_order import Change, FirstOrder, Memory


class Adam(FirstOrder):
    """Adaptive moments: s = −ε m̂ / (√v̂ + δ), with running means m of g and v of g².

    Args:
        params: parameters, or groups of them with settings of their own.
        lr: ε [param].
        betas: β₁ and β₂, how much of the means is kept in a step; each from 0 to below 1.
        eps: δ, which keeps the quotient finite [loss/param].
        maximize: climb instead.
        measured: evaluate the loss for the record; see `FirstOrder`.

    Raises:
        OptimizerError: if an argument is out of its range.

    Cost: a gradient; two vectors of memory.

    Source: Kingma and Ba 2015, "Adam: a method for stochastic optimization", algorithm 1, with the
    correction of the bias.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> loss = Adam([w], lr=0.1).step(lambda: (w**2).sum())
        >>> w.data
        tensor([0.9000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        *,
        maximize: bool = False,
        measured: bool = False,
    ) -> None:
        if not all(0.0 <= beta < 1.0 for beta in betas):
            raise OptimizerError(f"betas={betas}; give two numbers from 0 to below 1")
        if not eps >= 0.0:
            raise OptimizerError(f"eps={eps}; give a number of 0 or more")
        settings = {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize}
        super().__init__(params, settings, measured=measured)

    def _begin(self, p: nn.Parameter) -> Memory:
        return {"mean": torch.zeros_like(p), "square": torch.zeros_like(p), "t": 0}

    def _change(self, gradient: Tensor, memory: Memory, settings: Mapping[str, Any]) -> Change:
        t = memory["t"] + 1
        step, mean, square = adam_step(
            gradient,
            memory["mean"],
            memory["square"],
            t,
            settings["lr"],
            settings["betas"],
            settings["eps"],
        )
        return step, {"mean": mean, "square": square, "t": t}


def adam_step(
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    t: int,
    lr: float | Tensor,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> tuple[Tensor, Tensor, Tensor]:
    """M' = β₁ m + (1−β₁) g, v' = β₂ v + (1−β₂) g², s = −ε m'/(1−β₁ᵗ) / (√(v'/(1−β₂ᵗ)) + δ).

    Args:
        gradient: g, of any shape.
        mean: m, 0 at first.
        square: v, 0 at first.
        t: the number of this step, from 1.
        lr: ε.
        betas: β₁, β₂.
        eps: δ.

    Returns:
        The step s, m' and v', of the same shape.

    Source: Kingma and Ba 2015, algorithm 1.

    Example:
        >>> import torch
        >>> zero = torch.zeros(2)
        >>> adam_step(torch.tensor([3.0, -0.1]), zero, zero, t=1, lr=0.5)[0]
        tensor([-0.5000,  0.5000])
    """
    beta1, beta2 = betas
    mean = beta1 * mean + (1 - beta1) * gradient
    square = beta2 * square + (1 - beta2) * gradient**2
    unbiased_mean = mean / (1 - beta1**t)
    unbiased_square = square / (1 - beta2**t)
    return -lr * unbiased_mean / (unbiased_square.sqrt() + eps), mean, square
