"""Cubic regularisation: a quadratic model with a cubic penalty in the place of a region."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import linalg

from thalweg._errors import OptimizerError
from thalweg.optim._metric import Metric
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer, no_decrease
from thalweg.optim._secular import cubic_step
from thalweg.optim._subspace import Krylov, Space
from thalweg.optim._walk import Walk
from thalweg.surface import HESSIAN, Curvature

MAX_TRIES = 40
"""Each rejection doubles σ: by 10¹² after these."""

MIN_WEIGHT = 1e-16
"""Theirs."""


class CubicRegularisation(SurfaceOptimizer):
    """s = argmin gᵀs + ½ sᵀCs + ⅓ σ‖s‖³, in a subspace, the hard case included.

    σ stands for the Lipschitz constant of the Hessian: it doubles where the model promised too
    much (ρ < 0.1) and falls to min(σ, ‖g‖) where it was right (ρ > 0.9). A retry costs a forward
    pass and no product.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        weight: σ at first [loss/param³].
        subspace: `Krylov(k)`, in which directions without any part of the gradient are not seen;
            `Whole()` for small networks.
        curvature: `HESSIAN`, or `GGN`, which needs `bind`.
        metric: in which steps are measured.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.
        seed: of the direction to look along where the gradient is zero.

    Raises:
        OptimizerError: if σ is not positive.
        BudgetError: in `step`, for a `Whole()` of more than 2 GiB.

    Cost: k products; a forward pass for each σ tried.

    Source: Cartis, Gould and Toint 2011, "Adaptive cubic regularisation methods for unconstrained
    optimization, part I", algorithm 2.1 with the constants and σ of their sec. 7; their Krylov
    space grows until the gradient of the model is small, ours has one size.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([2.0]))
        >>> opt = CubicRegularisation([w], weight=1.0)
        >>> loss = opt.step(lambda: (0.5 * w**2).sum())  # −2 + y + y² = 0
        >>> w.data
        tensor([1.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        weight: float = 1.0,
        subspace: Space = Krylov(),  # noqa: B008  a frozen value
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
        seed: int = 0,
    ) -> None:
        if not weight > 0:
            raise OptimizerError(f"weight={weight}; give a number above 0")
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
            seed=seed,
        )
        self.weight = weight
        self.subspace = subspace

    def _begin(self) -> None:
        self.memory["weight"] = self.weight

    def _advance(self, walk: Walk) -> Outcome:
        subspace = self.subspace.read(walk, self.metric, self.generator())
        weight: float = self.memory["weight"]
        for _ in range(MAX_TRIES):
            tried = weight
            y = cubic_step(subspace.values, subspace.slopes, tried)
            if not y.any():
                reason = "the gradient is zero; no negative curvature seen"
                return Outcome.within(subspace, None, False, reason, damping=tried)
            attempt = walk.attempt(subspace.proposal(y, is_escape=walk.gradient_norm == 0))
            length = float(linalg.vector_norm(self.metric.measured(attempt.step)))
            ratio = walk.ratio(attempt, attempt.second - tried * length**3 / 3)
            if ratio > 0.9:
                slope = float(linalg.vector_norm(subspace.gradient))
                weight = max(min(tried, slope), MIN_WEIGHT) if slope else tried
            if ratio >= 0.1:
                self.memory["weight"] = weight
                damping = tried * float(linalg.vector_norm(y))
                return Outcome.within(subspace, attempt, True, subspace.said, damping=damping)
            if attempt.is_lost:
                break
            weight = 2 * tried
        # σ stays what it was: on other data it is the better guess.
        reason = no_decrease("weights up to", tried, attempt)
        return Outcome.within(subspace, attempt, False, reason, damping=tried)
