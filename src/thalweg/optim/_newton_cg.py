"""Newton–CG: the Newton equation solved as far as it pays, then a line search."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OptimizerError
from thalweg.optim._metric import Metric
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer, no_decrease
from thalweg.optim._walk import Proposal, Walk
from thalweg.surface import HESSIAN, Curvature

ARMIJO = 1e-4
"""The share of the first-order decrease that a step must bring; theirs."""

MAX_TRIES = 30
"""Halvings: of the step by 10⁹ after these."""


class NewtonCG(SurfaceOptimizer):
    """Line search along p with Cp ≈ −∇L, by conjugate gradients that end at negative curvature.

    They end where ‖Cp + ∇L‖ < min(½, √‖∇L‖) ‖∇L‖, or at a direction of negative curvature with what
    was reached before; in the first iteration with −∇L. The step is then halved until it brings
    10⁻⁴ of the first-order decrease.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: the first step length, 1 for the method as published.
        max_products: of a step.
        curvature: `HESSIAN`, or `GGN`, which needs `bind`.
        metric: preconditions the iterations.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.

    Raises:
        OptimizerError: if `max_products` is not positive.

    Cost: up to `max_products` products; a forward pass for each step length.

    Source: Nocedal and Wright 2006, algorithm 7.1, with backtracking by halves (algorithm 3.1).

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, -1.0]))
        >>> opt = NewtonCG([w])
        >>> loss = opt.step(lambda: (w**2).sum())
        >>> w.data, opt.record.num_products
        (tensor([0., 0.]), 1)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        max_products: int = 50,
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
    ) -> None:
        refuse_products(max_products)
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
        )
        self.max_products = max_products

    def _advance(self, walk: Walk) -> Outcome:
        if walk.gradient_norm == 0:
            return Outcome(None, False, "the gradient is zero: no direction to start from")
        gradient = self.metric.whitened(walk.gradient)

        def multiply(u: Tensor) -> Tensor:
            return self.metric.whitened(walk.product(self.metric.lifted(u)))

        found = newton_cg_direction(multiply, gradient, self.max_products)
        whole = Proposal(
            self.metric.lifted(found.direction),
            float(gradient @ found.direction),
            float(found.image @ found.direction),
        )
        α = 1.0
        for _ in range(MAX_TRIES):
            shortened = replace(
                whole,
                direction=α * whole.direction,
                slope=α * whole.slope,
                bend=α**2 * whole.bend,
            )
            attempt = walk.attempt(shortened)
            is_enough = attempt.actual >= ARMIJO * attempt.first or walk.is_noise(attempt)
            if is_enough or attempt.is_lost:
                break
            α /= 2
        is_accepted = is_enough and not attempt.is_lost
        return Outcome(
            attempt,
            is_accepted,
            found.reason if is_accepted else no_decrease("step lengths down to", α, attempt),
            subspace_size=walk.num_products,
            lowest_curvature=found.lowest,
            highest_curvature=found.highest,
        )


@dataclass(frozen=True)
class NewtonCGDirection:
    """Where conjugate gradients ended.

    Args:
        direction: p (n,) [param].
        image: C p (n,) [loss/param].
        lowest: the smallest dᵀCd/dᵀd of the directions gone [loss/param²].
        highest: the largest.
        reason: why they ended, in words.
    """

    direction: Float[Tensor, " n"]
    image: Float[Tensor, " n"]
    lowest: float
    highest: float
    reason: str


def newton_cg_direction(
    multiply: Callable[[Tensor], Tensor], gradient: Float[Tensor, " n"], max_products: int
) -> NewtonCGDirection:
    """P with Cp ≈ −g: truncated conjugate gradients, which negative curvature ends.

    Args:
        multiply: v ↦ C v.
        gradient: g (n,), not zero.
        max_products: iterations at most.

    Returns:
        Direction and image, and why the iterations ended.

    Cost: a product an iteration.

    Source: Nocedal and Wright 2006, algorithm 7.1.

    Example:
        >>> import torch
        >>> newton_cg_direction(lambda v: -v, torch.tensor([1.0, 2.0]), 5).direction
        tensor([-1., -2.])
    """
    z, r = torch.zeros_like(gradient), gradient
    d, rr = -gradient, float(gradient @ gradient)
    target = min(0.5, rr**0.25) * rr**0.5
    seen: list[float] = []
    reason = f"{max_products} products spent"
    for j in range(max_products):
        image = multiply(d)
        bend = float(d @ image)
        seen.append(bend / float(d @ d))
        if bend <= 0:
            reason = f"negative curvature met after {j} iterations"
            if j == 0:
                z, r = d, gradient + image
            break
        α = rr / bend
        z, r = z + α * d, r + α * image
        before, rr = rr, float(r @ r)
        if rr**0.5 < target:
            reason = "solved to the tolerance"
            break
        d = -r + rr / before * d
    return NewtonCGDirection(z, r - gradient, min(seen), max(seen), reason)


def refuse_products(max_products: int) -> None:
    """Refuses a budget that allows no product."""
    if not max_products >= 1:
        raise OptimizerError(f"max_products={max_products}; give a whole number of 1 or more")
