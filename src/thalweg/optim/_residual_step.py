"""The step of least squares: Levenberg-Marquardt's, bent along the curved residuals."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, isfinite

import torch
from torch import Tensor

from thalweg.optim._problem_objective import ProblemObjective
from thalweg.optim._residual_space import ResidualSpace, residuals_of
from thalweg.optim._walk import Attempt, Walk

FIRST_DAMPING = 1e-3
"""λ at first, of the trace of K."""

FACTOR = 4.0
"""By which λ goes down after a step as good as predicted, and up where there is no decrease."""

MAX_CORRECTIONS = 6

PAYS = 0.7
"""A correction that leaves more of the loss than this share is the last one."""

MAX_TRIES = 12


@dataclass(frozen=True)
class ResidualStep:
    """How a step ended.

    Args:
        attempt: the lowest one, or the last where there is no decrease.
        damping: λ of it.
        next_damping: to begin the next step with.
    """

    attempt: Attempt
    damping: float
    next_damping: float


def residual_step(walk: Walk, space: ResidualSpace, damping: float) -> ResidualStep:
    """Minimises ½‖ρ(θ + s)‖² + ½ λ‖s‖² by chord iterations, s = Jᵀw with J held at θ.

        w₀ = −(K + λ)⁻¹ ρ(θ),   wᵢ₊₁ = −(K + λ)⁻¹ (ρ(θ + Jᵀwᵢ) − K wᵢ)

    The first is the step of Levenberg and Marquardt. What the next one adds is, to third order,
    −(JᵀJ + λ)⁻¹ Jᵀ ½ρ''[s, s]: the step follows the residuals' own curvature. Each costs a forward
    pass, and none a factorisation. They go on while the loss falls by a third.

    λ falls by 4 where the loss falls by more than ¾ of what the first step promised, doubles below
    ¼, and rises by 4 until there is a decrease.

    Args:
        walk: at its start.
        space: ρ, J and K there.
        damping: λ to begin with; a share of K's trace where it is not finite.

    Cost: a factorisation of K + λ for each λ tried, a forward pass for each iteration.

    Source: Levenberg 1944; Marquardt 1963. The first correction is the geodesic acceleration of
    Transtrum and Sethna 2012, "Improvements to the Levenberg-Marquardt algorithm for nonlinear
    least-squares minimization", with the difference taken over the whole step; more of
    them, a chord method as in Ortega and Rheinboldt 1970, §7.1, are ours.
    """
    assert isinstance(walk.objective, ProblemObjective)
    trace = float(space.kernel.diagonal().sum())
    if not isfinite(damping):
        damping = FIRST_DAMPING * trace
    # Below, λ is lost in the rounding of K.
    damping = max(damping, torch.finfo(torch.float64).eps * trace)
    tries = 0
    while True:
        found, promised = _iterated(walk, space, damping)
        tries += 1
        if found is not None and (found.actual > 0 or tries > MAX_TRIES or found.is_lost):
            break
        damping *= FACTOR
    ratio = found.actual / promised if promised > 0 else -inf
    following = damping
    if not found.actual > 0 or ratio < 0.25:
        following = 2 * damping
    elif ratio > 0.75 and tries == 1:
        following = damping / FACTOR
    return ResidualStep(found, damping, following)


def _iterated(walk: Walk, space: ResidualSpace, damping: float) -> tuple[Attempt | None, float]:
    """The lowest of the chord iterations at one λ, and the decrease that the first one promised."""
    factor = space.factor(damping)
    walk.gradients_spent += space.cost_of_factor
    if factor is None:
        return None, 0.0

    def solved(right: Tensor) -> tuple[Tensor, Tensor]:
        """The solution w, and K w = −(r + λ w): as exact as a product, and for nothing."""
        w = -factor.solved(right)
        return w, -torch.add(right, w, alpha=damping)

    def tried(w: Tensor, moved: Tensor) -> tuple[Attempt, Tensor]:
        attempt = walk.attempt(space.proposal(w, moved, walk.start))
        assert isinstance(walk.objective, ProblemObjective)
        return attempt, residuals_of(walk.objective, walk.objective.last)

    w, moved = solved(space.residuals)
    best, residuals = tried(w, moved)
    promised = best.second
    for _ in range(MAX_CORRECTIONS):
        w, moved = solved(residuals - moved)
        if not bool(torch.isfinite(w).all()):
            break
        attempt, residuals = tried(w, moved)
        # Also from above the start: where the first step went up, the next one may go down.
        pays = attempt.loss < PAYS * best.loss
        if attempt.loss < best.loss:
            best = attempt
        if not pays:
            break
    return best, promised
