"""Damped: steps in a known subspace that one number λ shortens until the loss falls."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from torch import Tensor

from thalweg._errors import OptimizerError
from thalweg.optim._metric import Metric
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer, no_decrease
from thalweg.optim._subspace import Space, Subspace
from thalweg.optim._walk import Walk
from thalweg.surface import Curvature

MAX_TRIES = 12
"""Rejections multiply λ by 2, 4, 8, …: by 10²³ after these."""


class Damped(SurfaceOptimizer):
    """λ by the ratio ρ of actual to predicted decrease; each retry costs a forward pass alone.

    A step is accepted if ρ > 0, and λ becomes λ max(⅓, 1 − (2ρ−1)³); else λ becomes λν and ν
    doubles, from 2. At first λ is `damping` times the largest |curvature| seen.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step.
        damping: λ at first, in units of the largest curvature.
        subspace: in which directions the curvature is looked at.
        curvature: `HESSIAN` or `GGN`.
        metric: in which steps are measured.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.
        seed: of what is drawn at random.

    Source: Nielsen 1999, "Damping parameter in Marquardt's method", as in Madsen, Nielsen and
    Tingleff 2004, "Methods for non-linear least squares problems", eq. 2.21.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        damping: float,
        subspace: Space,
        curvature: Curvature,
        metric: Metric | None,
        maximize: bool,
        refresh_every: int,
        seed: int = 0,
    ) -> None:
        if not damping > 0:
            raise OptimizerError(f"damping={damping}; give a number above 0, such as 1e-3")
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
            seed=seed,
        )
        self.damping = damping
        self.subspace = subspace

    @abstractmethod
    def _inner_step(self, subspace: Subspace, damping: float) -> Tensor:
        """The step at a given λ."""

    def _least_damping(self, _: Subspace) -> float:
        """Below which λ makes no sense here."""
        return 0.0

    def _begin(self) -> None:
        self.memory["damping"] = 0.0  # in units that the first step finds

    def _advance(self, walk: Walk) -> Outcome:
        subspace = self.subspace.read(walk, self.metric, self.generator())
        if walk.gradient_norm == 0:
            reason = f"the gradient is zero; {subspace.said or 'no negative curvature seen'}"
            return Outcome.within(subspace, None, False, reason)
        scale = float(subspace.values.abs().max()) or 1.0
        damping = self.memory["damping"] or self.damping * scale
        damping, growth = max(damping, self._least_damping(subspace)), 2.0
        for _ in range(MAX_TRIES):
            tried = damping
            attempt = walk.attempt(subspace.proposal(self._inner_step(subspace, tried)))
            ratio = walk.ratio(attempt)
            if ratio > 0:
                self.memory["damping"] = tried * max(1 / 3, 1 - (2 * ratio - 1) ** 3)
                return Outcome.within(subspace, attempt, True, subspace.said, damping=tried)
            if attempt.is_lost:
                break
            damping, growth = tried * growth, 2 * growth
        # λ stays what it was: on other data it is the better guess.
        reason = no_decrease("dampings up to", tried, attempt)
        return Outcome.within(subspace, attempt, False, reason, damping=tried)
