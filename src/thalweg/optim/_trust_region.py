"""Trust region: the quadratic model minimised where it is believed, exactly, in a subspace."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import linalg

from thalweg.optim._metric import Metric
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer, no_decrease
from thalweg.optim._radius import MAX_TRIES, next_radius, refuse_radius
from thalweg.optim._secular import trust_region_step
from thalweg.optim._subspace import Krylov, Space
from thalweg.optim._walk import Walk
from thalweg.surface import HESSIAN, Curvature

MIN_RATIO = 0.15
"""Below it a step is rejected; SciPy's."""


class TrustRegion(SurfaceOptimizer):
    """s = argmin gᵀs + ½ sᵀCs over ‖s‖ ≤ Δ, in a subspace, the hard case included.

    Negative curvature is followed to the border, on a saddle itself too. A retry at a smaller Δ
    costs a forward pass and no product.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        radius: Δ at first, in the metric [param].
        max_radius: Δ at most.
        subspace: `Krylov(k)`, in which directions without any part of the gradient are not seen;
            `Whole()` for small networks.
        curvature: `HESSIAN`, or `GGN`, which needs `bind`.
        metric: in which steps are measured.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.
        seed: of the direction to look along where the gradient is zero.

    Raises:
        OptimizerError: if the radii make no sense.
        BudgetError: in `step`, for a `Whole()` of more than 2 GiB.

    Cost: k products; a forward pass for each Δ tried.

    Source: Nocedal and Wright 2006, algorithm 4.1; the subproblem after Moré and Sorensen 1983, in
    a Krylov space after Gould, Lucidi, Roma and Toint 1999, "Solving the trust-region subproblem
    using the Lanczos method", whose space is of one size here.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> opt = TrustRegion([w], radius=1.0)
        >>> loss = opt.step(lambda: (w**2).sum())
        >>> w.data, opt.record.radius
        (tensor([2.4000, 3.2000]), 1.0)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        radius: float = 1.0,
        max_radius: float = 1000.0,
        subspace: Space = Krylov(),  # noqa: B008  a frozen value
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
        seed: int = 0,
    ) -> None:
        refuse_radius(radius, max_radius)
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
            seed=seed,
        )
        self.radius = radius
        self.max_radius = max_radius
        self.subspace = subspace

    def _begin(self) -> None:
        self.memory["radius"] = self.radius

    def _advance(self, walk: Walk) -> Outcome:
        subspace = self.subspace.read(walk, self.metric, self.generator())
        radius: float = self.memory["radius"]
        for _ in range(MAX_TRIES):
            tried = radius
            y = trust_region_step(subspace.values, subspace.slopes, tried)
            if not y.any():
                reason = "the gradient is zero; no negative curvature seen"
                return Outcome.within(subspace, None, False, reason, radius=tried)
            attempt = walk.attempt(subspace.proposal(y, is_escape=walk.gradient_norm == 0))
            ratio = walk.ratio(attempt)
            radius = next_radius(tried, ratio, float(linalg.vector_norm(y)), self.max_radius)
            if ratio > MIN_RATIO:
                self.memory["radius"] = radius
                return Outcome.within(subspace, attempt, True, subspace.said, radius=tried)
            if attempt.is_lost:
                break
        # Δ stays what it was: on other data it is the better guess.
        reason = no_decrease("radii down to", tried, attempt)
        return Outcome.within(subspace, attempt, False, reason, radius=tried)
