"""Newton's method, dense, as published: attracted by whatever critical point is near."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim._metric import Metric
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer
from thalweg.optim._subspace import whole_space
from thalweg.optim._walk import Walk
from thalweg.surface import HESSIAN, Curvature


class Newton(SurfaceOptimizer):
    """The full Newton step: s = −H⁺ ∇L, H⁺ the pseudo-inverse.

    It lands on the critical point of a quadratic in one step, be that a minimum, a saddle or a
    maximum: along negative curvature it climbs, and its record says so. A step is taken whatever
    the loss does, unless it is not finite; nothing keeps it near its start.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        curvature: `HESSIAN`, or `GGN`, which has no negative curvature and needs `bind`.
        metric: in which curvatures are measured; it changes the step only where H is singular.
        maximize: climb instead: to the critical point, which is the same step.
        refresh_every: steps between two readings of the metric.

    Raises:
        BudgetError: in `step`, if H takes more than 2 GiB; says how much, and what to use.

    Cost: n products and an eigendecomposition of n × n.

    Source: Nocedal and Wright 2006, "Numerical optimization", eq. 3.30; the pseudo-inverse where H
    is singular is ours.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([4.0]))
        >>> opt = Newton([w])
        >>> loss = opt.step(lambda: ((w - 1) * (w - 3)).sum())
        >>> w.data, opt.record.reason
        (tensor([2.]), 'full step')
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
        )

    def _advance(self, walk: Walk) -> Outcome:
        subspace = whole_space(walk, self.metric)
        if walk.gradient_norm == 0:
            reason = f"the gradient is zero; {subspace.said or 'no negative curvature'}"
            return Outcome.within(subspace, None, False, reason)
        y = newton_step(subspace.values, subspace.slopes, subspace.noise)
        attempt = walk.attempt(subspace.proposal(y))
        if not isfinite(attempt.loss):
            return Outcome.within(subspace, attempt, False, "the loss is not finite there")
        reason = "full step"
        rank = int((subspace.values.abs() > subspace.noise).sum())
        if rank < subspace.size:
            reason += f" within a rank of {rank} of {subspace.size}"
        if subspace.said:
            reason += f", attracted: {subspace.said}, where it climbs"
        return Outcome.within(subspace, attempt, True, reason)


def newton_step(
    values: Float[Tensor, " k"], slopes: Float[Tensor, " k"], noise: float = 0.0
) -> Float[Tensor, " k"]:
    """Y = −Λ⁺ b: to the critical point, in every eigendirection by its own curvature.

    Args:
        values: Λ (k,), eigenvalues of the curvature [loss/param²].
        slopes: b (k,), the gradient along them [loss/param].
        noise: |λ| up to which a curvature counts as 0, and its direction is left alone.

    Returns:
        The step (k,).

    Source: Nocedal and Wright 2006, eq. 3.30.

    Example:
        >>> import torch
        >>> newton_step(torch.tensor([-4.0, 0.0, 2.0]), torch.tensor([1.0, 1.0, 1.0]))
        tensor([ 0.2500,  0.0000, -0.5000])
    """
    return torch.where(values.abs() > noise, -slopes / values, 0.0)
