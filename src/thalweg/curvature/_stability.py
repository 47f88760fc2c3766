"""The largest curvature at which an optimizer's step is stable."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch

from thalweg._errors import ThalwegError


@dataclass(frozen=True)
class StepRule:
    """An optimizer's step near a point, as far as its stability on a quadratic is concerned.

    A step is stable along an eigendirection of curvature λ while λ < `limit`. For methods that
    divide the gradient by √v, λ is an eigenvalue of P^(−1/2) H P^(−1/2) with P = diag(√v + ε).

    Args:
        name: the method in words.
        lr: the learning rate η as it was set.
        pace: the speed of the gradient flow that small steps follow: η for gradient descent and
            Adam, η/(1 − β) for heavy ball [param²/loss; for preconditioned methods param].
        limit: the curvature at which the step turns unstable.
        epsilon: ε of the preconditioner, None for methods without one.

    Example:
        >>> StepRule.gradient_descent(0.1).limit
        20.0
    """

    name: str
    lr: float
    pace: float
    limit: float
    epsilon: float | None = None

    @classmethod
    def gradient_descent(cls, lr: float) -> StepRule:
        """Plain gradient descent: 2/η.

        Raises:
            ThalwegError: if lr is not a positive number.
        """
        if not lr > 0:
            raise ThalwegError(f"lr={lr}; give a positive learning rate")
        return cls("gradient descent", lr, lr, 2 / lr)

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> StepRule | None:
        """The rule of an optimizer's first parameter group; None where no limit is known.

        Heavy ball: (2 + 2β)/η. Nesterov: (2 + 2β)/((1 + 2β)η). Adam and AdamW:
        (2 + 2β₁)/((1 − β₁)η) on the preconditioned Hessian.

        Source: Polyak 1964 and Goh 2017 for momentum; Cohen et al. 2022, "Adaptive gradient
        methods at the edge of stability", §3, for Adam.
        """
        group = optimizer.param_groups[0]
        lr = float(group["lr"])
        if not lr > 0:
            return None
        if type(optimizer) is torch.optim.SGD:
            return cls._momentum(
                lr, float(group["momentum"]), float(group["dampening"]), bool(group["nesterov"])
            )
        if type(optimizer) in (torch.optim.Adam, torch.optim.AdamW):
            beta = float(group["betas"][0])
            limit = (2 + 2 * beta) / ((1 - beta) * lr)
            return cls(f"{type(optimizer).__name__} β₁ = {beta:g}", lr, lr, limit, group["eps"])
        return None

    @classmethod
    def _momentum(cls, lr: float, beta: float, dampening: float, is_nesterov: bool) -> StepRule:
        if beta == 0:
            return cls.gradient_descent(lr)
        # Dampening scales the gradient that enters the momentum, so it scales η.
        step = lr * (1 - dampening)
        pace = step / (1 - beta) if beta < 1 else inf
        if is_nesterov:
            return cls(f"Nesterov β = {beta:g}", lr, pace, (2 + 2 * beta) / ((1 + 2 * beta) * step))
        return cls(f"heavy ball β = {beta:g}", lr, pace, (2 + 2 * beta) / step)


@dataclass(frozen=True)
class Stability:
    """Sharpness against the stability limit of the step in use.

    Args:
        rule: the optimizer's step.
        sharpness: λ_max, of the preconditioned Hessian where the rule has a preconditioner.
    """

    rule: StepRule
    sharpness: float

    @property
    def ratio(self) -> float:
        """Sharpness over limit: above 1 the step overshoots along the sharpest direction."""
        return self.sharpness / self.rule.limit

    @property
    def is_stable(self) -> bool:
        """Whether the ratio is below 1."""
        return self.ratio < 1
