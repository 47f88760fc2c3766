"""Saddle-free Newton: along each eigendirection a step by the absolute curvature."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import inf, isfinite, nan, sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._errors import OptimizerError
from thalweg._problem import Problem
from thalweg.optim._kfac import KFAC
from thalweg.optim._metric import Identity, Metric
from thalweg.optim._objective import Objective
from thalweg.optim._optimizer import NEVER, Outcome, SurfaceOptimizer, no_decrease
from thalweg.optim._problem_objective import ProblemObjective
from thalweg.optim._residual_space import has_residuals, residual_space
from thalweg.optim._residual_step import residual_step
from thalweg.optim._secant import secant_corrections
from thalweg.optim._subspace import Subspace, krylov_space
from thalweg.optim._tuning import Tuning
from thalweg.optim._walk import Attempt, Walk
from thalweg.surface import GGN, HESSIAN, Curvature

SIZES = (3, 4, 6, 8, 12, 18, 27, 40)
"""Dimensions of the subspace to choose from."""

FIRST_RUNG = 1

FACTOR = 5.0
"""By which λ goes down while the loss falls, and up until it does."""

LEAST = 1e-16
"""Of the largest curvature: from a λ below this share, 0 for instance, it rises to it at once."""

ALIKE = 0.02
"""Two λ are one where the steps differ by less than this share: the second is not tried."""

GOOD, POOR = 0.75, 0.25
"""Of the predicted decrease: above the one λ may go down, below the other it goes up."""

BETTER = 1.1
"""So much better than predicted, a step is tried at twice its length; from `GOOD` on where the
model predicts more for that."""

PROMISING = 0.1
"""A smaller λ is tried where it is predicted to add this share to the decrease ..."""

WORTHWHILE = 0.03
"""... or to take this share of what the loss is now; a longer step goes on where it took more."""

TRUSTED = 0.25
"""Below this share of the predicted decrease a metric is none."""

MAX_TRIES = 12

MAX_WAIT = 32
"""Steps without corrections at most, after some that did not pay; twice as many each time."""

MAX_NOISY = 8
"""Steps in a row whose decrease drowns in rounding and that are taken nevertheless."""


def saddle_free_step(
    values: Float[Tensor, " k"], slopes: Float[Tensor, " k"], damping: float
) -> Float[Tensor, " k"]:
    """Y = −(|Λ| + λ)⁻¹ b: down the gradient in every eigendirection, near a saddle away by |λ|.

    Args:
        values: Λ (k,), eigenvalues of the curvature [loss/param²].
        slopes: b (k,), the gradient along them [loss/param].
        damping: λ ≥ 0 [loss/param²].

    Returns:
        The step (k,) along the eigenvectors; 0 where slope, curvature and λ are all 0.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", eq. 3; λ as in Levenberg's damping is ours.

    Example:
        >>> import torch
        >>> saddle_free_step(torch.tensor([2.0, -4.0]), torch.tensor([1.0, 1.0]), 0.0)
        tensor([-0.5000, -0.2500])
    """
    scale = values.abs() + damping
    return torch.where(slopes == 0, 0.0, -slopes / scale)


@dataclass(frozen=True)
class View:
    """A way to see the surface.

    Args:
        curvature: the Hessian, or the GGN.
        is_measured: whether steps are measured in the metric.
        is_whole: whether it is seen in all directions, from the residuals; else in a Krylov space.
    """

    curvature: Curvature
    is_measured: bool = False
    is_whole: bool = False


VIEWS = (
    View(GGN, is_whole=True),
    View(GGN),
    View(GGN, is_measured=True),
    View(HESSIAN),
    View(HESSIAN, is_measured=True),
)
"""In the order in which they are tried, where they are there to choose from."""


@dataclass(frozen=True)
class Search:
    """What was found at different λ.

    Args:
        best: the lowest attempt; None where none is accepted.
        last: the same, or the last one that failed.
        damping: λ of it.
        following: λ to begin the next step with.
    """

    best: Attempt | None
    last: Attempt
    damping: float
    following: float


class SaddleFreeNewton(SurfaceOptimizer):
    """Saddle-free Newton in a small Krylov space, measured in a K-FAC metric.

    In a subspace spanned by the last step and Lanczos vectors of the gradient, all in
    u = Lᵀ θ with M = L Lᵀ, the curvature is QΛQᵀ and the step

        s = −L⁻ᵀ V Q (|Λ| + λ)⁻¹ Qᵀ Vᵀ L⁻¹ ∇L.

    λ rises by 5 until the loss falls, and falls by 5 where it fell as predicted; each try costs a
    forward pass and no product. A step that does better than predicted is doubled as long as that
    pays. Where a step gains next to nothing and a direction of negative curvature is
    known, a line search leaves along it. Where a step landed, up to 20 corrections lead on by
    gradients alone, as long as each takes 6 % of the loss: `secant_corrections`. Which
    curvature (exact Hessian or GGN), which metric (K-FAC or none) and how many directions is found
    on the way, by progress per cost: `Tuning`.

    Of a loss that is a mean of few squares the GGN is seen in all directions at once, from the
    residuals: `residual_step`.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        curvature: `HESSIAN` or `GGN` to keep to one; both are weighed against each other when left
            out and `bind` gave the model.
        metric: M; when left out K-FAC of the model that was bound, and none for a closure.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric; more where so many cost less than
            a reading.
        seed: of what is drawn at random.

    Raises:
        OptimizerError: in `step`, if there is no loss, or the closure calls `backward`.
        NonFiniteError: in `step`, if loss or gradient are not finite where it starts.
        RandomModelError: in `step`, if the loss differs between two calls at one place.

    Cost: a gradient, 3 to 40 products (4 to begin with), some two forward passes, and up to 40
    gradients while these pay, a step; a vector of memory for each product, two for each of these
    gradients. From residuals: a gradient, the Jacobian, a factorisation of its kernel, and some
    four forward passes.

    Not for minibatches, whose noise a Krylov space fits: `StochasticNewton` is.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", algorithm 1; the metric is that of Martens and Grosse
    2015, "Optimizing neural networks with Kronecker-factored approximate curvature". Ours are the
    subspace in the metric, the last step in it, λ inside of it, the escape, and the tuning.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([2.0, 1e-3]))
        >>> opt = SaddleFreeNewton([w])
        >>> for _ in range(10):
        ...     loss = opt.step(lambda: w[0] ** 2 - w[1] ** 2 + w[1] ** 4 / 2)
        >>> w.data.abs().round(decimals=3)
        tensor([0., 1.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        curvature: Curvature | None = None,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
            seed=seed,
        )
        self._takes_kfac = metric is None
        self._plain = Identity()
        self._knows_output = False
        self._has_residuals = False
        self._ways = self._found_ways()

    def bind(
        self, model: nn.Module | Problem, loss: Any = None, batch: Any = None
    ) -> SaddleFreeNewton:
        """Hands over the loss; see `SurfaceOptimizer.bind`.

        Args:
            model: the model, or a `Problem` alone.
            loss: as of `Problem`.
            batch: one batch or several.
        """
        super().bind(model, loss, batch)
        assert self._bound is not None
        bound = self._bound.model
        if self._takes_kfac and not (isinstance(self.metric, KFAC) and self.metric.model is bound):
            self._measure_by(KFAC(bound))
        return self

    @property
    def views(self) -> tuple[View, ...]:
        """The ways between which it chooses; the first is taken first."""
        return tuple(VIEWS[number] for number in self._found_ways())

    def _found_ways(self) -> tuple[int, ...]:
        curvatures = [GGN, HESSIAN] if self._knows_output else [HESSIAN]
        if self.curvature is not None:
            curvatures = [self.curvature]
        found = [number for number, view in enumerate(VIEWS) if view.curvature in curvatures]
        if self._has_residuals and GGN in curvatures:
            # All directions of the GGN: no metric, and none of its Krylov spaces, shows more.
            return tuple(n for n in found if VIEWS[n].is_whole or VIEWS[n] == View(HESSIAN))
        has_metric = not isinstance(self.metric, Identity)
        return tuple(
            n for n in found if not VIEWS[n].is_whole and (has_metric or not VIEWS[n].is_measured)
        )

    # -- one step ---------------------------------------------------------------------------

    def _begin(self) -> None:
        self.memory.update(
            tuning=Tuning.fresh(len(VIEWS), FIRST_RUNG),
            dampings={str(way): nan for way in range(len(VIEWS))},
            share=nan,
            noisy=0,
            unread=0.0,
            wait=0,
            pause=0,
        )
        self.remember("previous", self.remembered("previous"))

    @property
    def _tuning(self) -> Tuning:
        return Tuning(self.memory["tuning"], SIZES, self._ways)

    @property
    def _view(self) -> View:
        return VIEWS[self._tuning.way]

    def _curvature_of_step(self, objective: Objective) -> Curvature | None:
        self._knows_output = isinstance(objective, ProblemObjective)
        self._has_residuals = self._is_uniform() and has_residuals(objective)
        self._ways = self._found_ways()  # once a step: it is asked at every turn
        if not self._knows_output and self._view.curvature is GGN:
            raise OptimizerError(
                "the GGN needs the model's output, which a closure does not tell; hand the loss "
                "over by bind(model, loss, (x, y)), or take curvature=HESSIAN"
            )
        return None if self._view.is_whole else self._view.curvature

    def _is_uniform(self) -> bool:
        """Whether all parameters move at the rate that the method has as published."""
        return all(float(group["lr"]) == 1.0 for group in self.param_groups)

    def _is_metric_due(self) -> bool:
        if not self._view.is_measured:
            return False
        cost = self.metric.gradients_per_refresh + self.metric.gradients_per_root
        is_paid = self.memory["unread"] >= cost
        return super()._is_metric_due() and (is_paid or self.memory["refreshed"] == NEVER)

    def refresh_metric(self, walk: Walk) -> None:
        """As of `SurfaceOptimizer`.

        Args:
            walk: where it is read.
        """
        super().refresh_metric(walk)
        walk.gradients_spent += self.metric.gradients_per_root
        # The step that begins with it counts it, too.
        self.memory["unread"] = -self.metric.gradients_per_refresh - self.metric.gradients_per_root

    def _advance(self, walk: Walk) -> Outcome:
        outcome = self._advanced(walk)
        self.memory["unread"] += walk.gradients_spent
        return outcome

    def _advanced(self, walk: Walk) -> Outcome:
        if self._view.is_whole:
            return self._advanced_by_residuals(walk)
        way, size = str(self._tuning.way), self._tuning.size
        metric = self.metric if self._view.is_measured else self._plain
        space = krylov_space(walk, metric, size, self._direction(walk, metric))
        if walk.gradient_norm == 0:
            return self._left(walk, space)
        search = self._searched(walk, space, self.memory["dampings"][way])
        best = search.best
        if (escape := self._escaped(walk, space, best)) is not None:
            best = escape
        elif best is not None:
            best = self._corrected(walk, space, search)
        following = nan if best is None else search.following
        self.memory["dampings"][way] = following
        largest = float(space.values.abs().max())
        self.memory["share"] = following / largest if largest else nan
        ratio = -inf if search.best is None else walk.ratio(search.best)
        after = walk.value if best is None else best.loss
        is_sound = best is not None and (ratio > TRUSTED or not self._view.is_measured)
        self._tuning.learn(walk.value, after, walk.gradients_spent, is_sound=is_sound)
        if best is None:
            self.remember("previous", torch.zeros_like(walk.start))
            reason = no_decrease("dampings up to", search.damping, search.last)
            return Outcome.within(space, search.last, False, reason, damping=search.damping)
        walk.settle(best)
        self.remember("previous", best.step)
        reason = "left along negative curvature" if best.is_escape else space.said
        return Outcome.within(space, best, True, reason, damping=search.damping)

    def _advanced_by_residuals(self, walk: Walk) -> Outcome:
        """A step in all directions: see `residual_step`."""
        assert isinstance(walk.objective, ProblemObjective)
        way = str(self._tuning.way)
        space = residual_space(walk)
        if space is None or walk.gradient_norm == 0:
            self._tuning.learn(walk.value, walk.value, walk.gradients_spent, is_sound=False)
            what = "the gradient is zero" if space else "samples act on one another"
            return Outcome(None, False, f"{what}; the curvature is looked at in another way next")
        found = residual_step(walk, space, self.memory["dampings"][way])
        best = found.attempt if self._is_accepted(walk, found.attempt) else None
        self.memory["dampings"][way] = found.next_damping
        after = walk.value if best is None else best.loss
        self._tuning.learn(walk.value, after, walk.gradients_spent, is_sound=best is not None)
        lowest, highest = space.extremes()
        self.remember("previous", torch.zeros_like(walk.start) if best is None else best.step)
        if best is not None:
            walk.settle(best)
        reason = "" if best else no_decrease("dampings up to", found.damping, found.attempt)
        return Outcome(
            found.attempt,
            best is not None,
            reason,
            damping=found.damping,
            subspace_size=space.size,
            lowest_curvature=lowest,
            highest_curvature=highest,
        )

    def _left(self, walk: Walk, space: Subspace) -> Outcome:
        """The end of a step from a critical point: away, where negative curvature was seen."""
        if (escape := self._escaped(walk, space, None)) is None:
            reason = f"the gradient is zero; {space.said or 'no negative curvature seen'}"
            return Outcome.within(space, None, False, reason)
        walk.settle(escape)
        return Outcome.within(space, escape, True, "left along negative curvature")

    def _direction(self, walk: Walk, metric: Metric) -> Float[Tensor, " n"]:
        if walk.gradient_norm > 0:
            return self.remembered("previous")
        # On a critical point the gradient shows nothing; a random vector sees all directions.
        random = torch.randn(len(walk.start), generator=self.generator(), dtype=torch.float64)
        return metric.lifted(random.to(walk.start))

    def _searched(self, walk: Walk, space: Subspace, damping: float) -> Search:
        """Goes up with λ until the loss falls, or down as long as that pays."""
        largest = float(space.values.abs().max()) or 1.0
        if not isfinite(damping):
            # Of another view λ is known as a share of the curvature.
            share = self.memory["share"]
            damping = largest * (share if isfinite(share) else 1.0)

        def step_at(damping: float) -> Tensor:
            return saddle_free_step(space.values, space.slopes, damping)

        def tried(step: Tensor) -> Attempt:
            return walk.attempt(space.proposal(step))

        step = step_at(damping)
        attempt = tried(step)
        is_first = True
        for _ in range(MAX_TRIES):
            if self._is_accepted(walk, attempt) or attempt.is_lost:
                break
            is_first = False
            shorter = step
            while _are_alike(shorter, step):
                damping = max(FACTOR * damping, LEAST * largest)
                shorter = step_at(damping)
            step = shorter
            attempt = tried(step)
        if not self._is_accepted(walk, attempt):
            return Search(None, attempt, damping, damping)
        if not (isinstance(walk.rates, float) and walk.rates == 1.0):
            # A rate is the user's word on the length: what makes steps longer is left out.
            below = damping / FACTOR
            alike = _are_alike(step_at(below), step)
            return Search(attempt, attempt, damping, damping if alike else below)
        best, following = attempt, damping
        if walk.ratio(attempt) < POOR:
            following = FACTOR * damping
        while is_first and walk.ratio(best) > GOOD:
            if _are_alike(longer := step_at(damping / FACTOR), step):
                break
            following = damping / FACTOR
            more = space.predicted(longer) - space.predicted(step)
            # A forward pass is not worth less; the next step begins there all the same.
            if not more > min(PROMISING * space.predicted(step), WORTHWHILE * abs(best.loss)):
                break
            attempt = tried(longer)
            if not attempt.loss < best.loss:
                following = damping
                break
            damping, step, best = following, longer, attempt
        # Along negative curvature, and under a large λ, the model itself points farther.
        farther = space.predicted(2 * step) > (1 + PROMISING) * space.predicted(step)
        if walk.ratio(best) > (GOOD if farther else BETTER):
            best = self._lengthened(best, step, tried)
        return Search(best, best, damping, following)

    @staticmethod
    def _lengthened(best: Attempt, step: Tensor, tried: Callable[[Tensor], Attempt]) -> Attempt:
        """Doubles a step that did better than predicted, as long as that pays."""
        factor = 2.0
        while (attempt := tried(factor * step)).loss < best.loss:
            pays = best.loss - attempt.loss > WORTHWHILE * abs(best.loss)
            best, factor = attempt, 2 * factor
            if not pays:
                break
        return best

    def _corrected(self, walk: Walk, space: Subspace, search: Search) -> Attempt:
        """The step with what `secant_corrections` add, which are left off for a while if little."""
        assert search.best is not None
        memory, best = self.memory, search.best
        # A rate is the user's word on the length; where all directions are known λ is the method's.
        is_free = self._is_uniform() and space.size < len(walk.start)
        if not is_free or walk.is_noise(best) or not best.actual > 0:
            return best
        if memory["pause"] > 0:
            memory["pause"] -= 1
            return best
        found = secant_corrections(walk, space, best, search.damping)
        memory["wait"] = 0 if found.is_worth else min(max(1, 2 * memory["wait"]), MAX_WAIT)
        memory["pause"] = memory["wait"]
        return found.attempt

    def _is_accepted(self, walk: Walk, attempt: Attempt) -> bool:
        if not isfinite(attempt.loss) or attempt.is_lost:
            return False
        if attempt.actual > 0:
            self.memory["noisy"] = 0
            return True
        if walk.is_noise(attempt) and attempt.second > 0 and self.memory["noisy"] < MAX_NOISY:
            self.memory["noisy"] += 1
            return True
        return False

    def _escaped(self, walk: Walk, space: Subspace, best: Attempt | None) -> Attempt | None:
        """A line search along the most negative curvature, where all else gains next to nothing."""
        gained = 0.0 if best is None else best.actual
        if not space.values[0] < -space.noise or gained > 1e-2 * abs(walk.value):
            return None
        unit = torch.zeros_like(space.values)
        unit[0] = -1.0 if space.slopes[0] > 0 else 1.0
        # A tenth of the way to where the quadratic model would have lost the whole loss.
        length = 0.1 * sqrt(2 * (abs(walk.value) or 1.0) / abs(float(space.values[0])))
        found, lowest = None, walk.value - gained
        for _ in range(MAX_TRIES):
            attempt = walk.attempt(space.proposal(length * unit, is_escape=True))
            if not attempt.loss < lowest:
                break
            found, lowest, length = attempt, attempt.loss, 4 * length
        return found


def _are_alike(one: Tensor, other: Tensor) -> bool:
    return bool(torch.linalg.vector_norm(one - other) <= ALIKE * torch.linalg.vector_norm(other))
