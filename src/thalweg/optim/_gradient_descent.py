"""Gradient descent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor

from thalweg.optim._first_order import Change, FirstOrder, Memory


class GradientDescent(FirstOrder):
    """Steepest descent: s = −ε ∇L.

    Near a minimum the error along an eigenvector shrinks by 1 − ελ a step, so it needs ε < 2/λ_max
    and takes 1/ελ steps for each; near a saddle it leaves by 1 + ε|λ|, slowly where |λ| is small.

    Args:
        params: parameters, or groups of them with settings of their own.
        lr: ε [param²/loss].
        maximize: climb instead.
        measured: evaluate the loss for the record; see `FirstOrder`.

    Cost: a gradient.

    Source: Cauchy 1847, "Méthode générale pour la résolution des systèmes d'équations simultanées";
    with its step as here, `torch.optim.SGD`.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> loss = GradientDescent([w], lr=0.1).step(lambda: (w**2).sum())
        >>> w.data
        tensor([0.8000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        *,
        maximize: bool = False,
        measured: bool = False,
    ) -> None:
        super().__init__(params, {"lr": lr, "maximize": maximize}, measured=measured)

    def _change(self, gradient: Tensor, _: Memory, settings: Mapping[str, Any]) -> Change:
        return gradient_descent_step(gradient, settings["lr"]), {}


def gradient_descent_step(gradient: Tensor, lr: float | Tensor) -> Tensor:
    """S = −ε g.

    Args:
        gradient: g, of any shape.
        lr: ε.

    Returns:
        The step, of the same shape.

    Example:
        >>> import torch
        >>> gradient_descent_step(torch.tensor([2.0, -4.0]), 0.5)
        tensor([-1.,  2.])
    """
    return -lr * gradient
