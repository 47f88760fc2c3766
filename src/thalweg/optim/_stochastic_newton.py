"""Newton's method on minibatches: K-FAC directions, their length by the exact GGN."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._batch import num_samples, take, tensors_in
from thalweg._errors import OptimizerError
from thalweg._problem import Problem
from thalweg.optim._kfac import KFAC
from thalweg.optim._metric import Metric
from thalweg.optim._objective import Along, Objective
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer
from thalweg.optim._problem_objective import ProblemObjective
from thalweg.optim._walk import FORWARD, Attempt, Walk
from thalweg.surface import Curvature

CURVATURE_SAMPLES = 128
"""Samples of a batch on which the curvature along the directions is read, and the step judged."""

METRIC_SAMPLES = 512
"""Samples of a batch from which the metric is read."""

YOUNG = (1, 2, 4, 7, 11)
"""Steps before which the metric is read besides: at first the network moves fast."""

FACTOR = 0.85
"""By which λ falls where the ratio is above ¾; it rises by as much where it is below ¼."""

TRUSTED = 0.003
"""Where the decrease is so close to what gᵀs + ½ sᵀCs predicts, λ falls by |ratio − 1| / 0.003.

Far from a minimum only steps that are too short to matter are predicted so well.
"""

FASTEST = 1 / 3
"""By which it falls at most."""

SETBACK = FACTOR**-6
"""By which λ rises where the loss is not finite."""

HARM = 1.0
"""λ rises too where the last step raised the loss of the next batch by so many times what it had
promised: a little of that is the noise of batches.
"""

RUIN = 1.0
"""A step is taken back where it raised the loss of the next batch by more than so many times."""

LEAST, MOST = 1e-6, 1e9
"""Between which λ stays, in units of the mean curvature."""

FLOOR = 3e-3
"""Least damping of the metric, in the same units: below, noise in what hardly bends takes over."""

TANGENT = 2 / 3
"""The cost of a direction in gradients: two products of matrices a layer, of a gradient's three."""


def two_direction_step(
    gram: Float[Tensor, "k k"], slopes: Float[Tensor, " k"]
) -> Float[Tensor, " k"]:
    """Y = −(SᵀCS + λSᵀMS)⁺ Sᵀg: the lowest point of the model on the span of a few directions.

    Args:
        gram: the damped curvature along the directions (k, k), positive semidefinite.
        slopes: Sᵀg (k,).

    Returns:
        The coefficients (k,); directions are weighed by their own curvature first, so that none
        drowns beside a longer one.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", §6.4 and §7.

    Example:
        >>> import torch
        >>> two_direction_step(torch.tensor([[2.0, 0.0], [0.0, 4.0]]), torch.tensor([2.0, 4.0]))
        tensor([-1., -1.])
    """
    scale = gram.diagonal().clamp_min(torch.finfo(gram.dtype).tiny).rsqrt()
    scaled = gram * scale * scale[:, None]
    inner: Tensor = torch.linalg.pinv(scaled, hermitian=True) @ (scale * slopes)
    return -scale * inner


class StochasticNewton(SurfaceOptimizer):
    """Saddle-free Newton for minibatches: descent of the GGN model along two directions.

    The directions are Δ = −(M + γ²)⁻¹∇L, with M the K-FAC metric averaged over batches, and the
    last step δ; their lengths are those of the lowest point of

        gᵀs + ½ sᵀ(C + λ)s,    s = αΔ + μδ,

    where C is the exact GGN on up to 128 samples of the batch, read from the tangents JΔ and Jδ
    alone. The GGN has no negative curvature to be drawn to, and α and μ stand in for a learning
    rate and a momentum, which nobody has to set. λ starts high, since far from a minimum small
    directions of the metric are noise, and moves by the ratio of actual to predicted decrease on
    those samples, faster where the model is exact; γ² = max(λ, 0.003 c̄) with c̄ the mean
    curvature. Since small batches go down whatever becomes of all others, λ rises as well where
    gᵀδ − ½δᵀCδ of the next batch says that the step before did more harm than it had promised
    good. A step after which the loss is not finite, or that more than doubled the loss of the next
    batch, is taken back.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        damping: λ at first, as a multiple of the mean curvature c̄ = tr M / n, so that it has no
            unit.
        metric: M; K-FAC of the model that is bound, averaged with `decay`, when left out.
        decay: of the average over readings of the metric.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.
        seed: of what is drawn at random.

    The record's decreases and ratio are those on the samples on which the curvature is read: all
    of the batch up to 128. Batches that grow, by some 0.3 % a step, take it farther than equal
    ones: what is left at the end is their noise. Beyond a tenth of the data that costs more than
    it gains.

    Raises:
        OptimizerError: in `step`, if the loss comes as a closure, which does not tell the output.

    Cost: a gradient; on 128 samples two forward passes and two tangents of ⅔ gradient each; every
    `refresh_every` steps the metric's reading on 512 samples and a Cholesky factor of each side of
    each layer. Memory: two vectors, and the factors with their inverses.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", §6.3 for the factored damping, §6.4, §6.5 for λ, §7 for the momentum. Ours: γ is
    bound to λ in the place of a greedy search, which prefers short steps of steepest descent; the
    unit of both; the ratio at every step, on part of the batch; what the next batch says.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = torch.nn.Linear(1, 1)
        >>> opt = StochasticNewton(model.parameters())
        >>> for _ in range(20):
        ...     for rows in torch.randperm(64).split(16):
        ...         batch = x[rows], 3 * x[rows]
        ...         loss = opt.bind(model, torch.nn.functional.mse_loss, batch).step()
        >>> bool(loss < 1e-6)
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        damping: float = 1000.0,
        metric: Metric | None = None,
        decay: float = 0.65,
        maximize: bool = False,
        refresh_every: int = 8,
        seed: int = 0,
    ) -> None:
        if not damping > 0:
            raise OptimizerError(f"damping={damping}; give a number above 0, such as 1000")
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=None,
            metric=metric,
            refresh_every=refresh_every,
            seed=seed,
        )
        self.damping = damping
        self.decay = decay
        self._takes_kfac = metric is None

    def bind(
        self, model: nn.Module | Problem, loss: Any = None, batch: Any = None
    ) -> StochasticNewton:
        """Hands over the minibatch; see `SurfaceOptimizer.bind`.

        Args:
            model: the model, or a `Problem` alone.
            loss: as of `Problem`.
            batch: the minibatch.
        """
        super().bind(model, loss, batch)
        assert self._bound is not None
        bound = self._bound.model
        if self._takes_kfac and not (isinstance(self.metric, KFAC) and self.metric.model is bound):
            self._measure_by(KFAC(bound, decay=self.decay))
        return self

    def refresh_metric(self, walk: Walk) -> None:
        """Reads the metric anew, on part of the batch.

        Cost: that of the metric, counted in the record.
        """
        walk.retreat()
        part, share = self._part(walk, METRIC_SAMPLES)
        with part.leaving_no_trace():
            self.metric.refresh(part, self.generator(1))
        walk.gradients_spent += share * self.metric.gradients_per_refresh
        unit = self.metric.mean
        shift = max(self.memory["damping"], FLOOR) * unit
        self.memory.update(refreshed=self.memory["step"], unit=unit, shift=shift)

    # -- one step ---------------------------------------------------------------------------

    def _begin(self) -> None:
        self.memory.update(damping=self.damping, unit=1.0, shift=1.0, promised=0.0, loss=inf)
        self.remember("previous", self.remembered("previous"))

    def _curvature_of_step(self, objective: Objective) -> Curvature | None:
        if not isinstance(objective, ProblemObjective):
            raise OptimizerError(
                "StochasticNewton needs the model's output, which a closure does not tell; hand "
                "the loss over by bind(model, loss, (x, y)), or take SaddleFreeNewton"
            )
        return None

    def _is_metric_due(self) -> bool:
        return self.memory["step"] in YOUNG or super()._is_metric_due()

    def _advance(self, walk: Walk) -> Outcome:
        if walk.gradient_norm == 0:
            return Outcome(None, False, "the gradient is zero")
        if (undone := self._undone(walk)) is not None:
            return undone
        self.memory["loss"] = walk.value
        directions = self._directions(walk)
        part, share = self._part(walk, CURVATURE_SAMPLES)
        seen = self._along(walk, part, share, directions)
        damping = self.memory["damping"] * self.memory["unit"]
        lengths = _products(directions, directions)
        slopes = _products(directions, [walk.gradient])[:, 0]
        y = two_direction_step(seen.gram + damping * lengths, slopes)
        direction = sum(float(c) * d for c, d in zip(y, directions, strict=True))
        assert isinstance(direction, Tensor)
        walk.judge_by(part, seen.value, share)
        attempt = self._attempt(walk, part, share, direction, seen, y)
        outcome = {
            "damping": damping,
            "subspace_size": len(directions),
            "highest_curvature": float(seen.gram[0, 0] / lengths[0, 0]),
        }
        if not isfinite(attempt.loss):
            self._damp(SETBACK)
            self.remember("previous", torch.zeros_like(direction))
            return Outcome(attempt, False, "the loss after the step is not finite", **outcome)
        predicted = attempt.second - damping * float(attempt.step @ attempt.step) / 2
        ratio = walk.ratio(attempt, predicted)
        if ratio < 0.25 or _rise(seen, slopes) > HARM * self.memory["promised"]:
            self._damp(1 / FACTOR)
        elif ratio > 0.75:
            self._damp(min(max(abs(attempt.ratio - 1) / TRUSTED, FASTEST), FACTOR))
        self.memory["promised"] = attempt.second
        self.remember("previous", attempt.step)
        return Outcome(attempt, True, "", **outcome)

    def _undone(self, walk: Walk) -> Outcome | None:
        """The last step taken back, where a batch it was not made for says that it was ruin."""
        last, previous = self.memory["loss"], self.remembered("previous")
        if not walk.value > last + RUIN * abs(last) or not bool(previous.any()):
            return None
        attempt = walk.tried(-previous, -float(walk.gradient @ previous), 0.0)
        if not walk.value - attempt.loss > RUIN * abs(attempt.loss):
            walk.retreat()
            return None
        self._damp(SETBACK)
        self.remember("previous", torch.zeros_like(previous))
        reason = "the last step is taken back, which more than doubled the loss of this batch"
        return Outcome(attempt, True, reason, damping=self.memory["damping"] * self.memory["unit"])

    def _directions(self, walk: Walk) -> list[Float[Tensor, " n"]]:
        newest = -self.metric.solved(walk.gradient, self.memory["shift"])
        previous = self.remembered("previous")
        return [newest, previous] if bool(previous.any()) else [newest]

    def _part(self, walk: Walk, most: int) -> tuple[ProblemObjective, float]:
        """The loss of some samples of every batch, and their share of all."""
        assert isinstance(walk.objective, ProblemObjective)
        whole = walk.objective
        some = [_some(batch, most, self.generator(2)) for batch in whole.problem.batches]
        share = sum(map(num_samples, some)) / max(sum(map(num_samples, whole.problem.batches)), 1)
        part = ProblemObjective(
            whole.problem.with_data(some), whole.params, self._sign(), is_taped=whole.is_taped
        )
        return part, share

    def _along(
        self,
        walk: Walk,
        part: ProblemObjective,
        share: float,
        directions: list[Float[Tensor, " n"]],
    ) -> Along:
        """The loss of some samples along the directions."""
        with part.leaving_no_trace():
            seen = part.along(directions)
        walk.objective.is_taped = part.is_taped
        walk.num_products += len(directions)
        walk.gradients_spent += share * (FORWARD + TANGENT * len(directions))
        return seen

    def _attempt(
        self,
        walk: Walk,
        part: ProblemObjective,
        share: float,
        direction: Float[Tensor, " n"],
        seen: Along,
        y: Float[Tensor, " k"],
    ) -> Attempt:
        """The step tried, with what the model of some samples says of it."""
        step = walk.rates * direction
        if isinstance(walk.rates, Tensor):
            # Rates that differ between groups lead out of the plane that was seen.
            seen, y = self._along(walk, part, share, [step]), y.new_ones(1)
        else:
            y = walk.rates * y
        return walk.tried(step, float(seen.slopes @ y), float(y @ seen.gram @ y))

    def _damp(self, factor: float) -> None:
        self.memory["damping"] = min(max(self.memory["damping"] * factor, LEAST), MOST)


def _rise(seen: Along, slopes: Float[Tensor, " k"]) -> float:
    """By how much the last step δ went up on a batch that it was not made for: gᵀδ − ½ δᵀCδ.

    Its own batch cannot tell: few samples go down all the way while the loss of all others rises.
    """
    return float(slopes[1] - seen.gram[1, 1] / 2) if len(slopes) > 1 else 0.0


def _products(one: list[Float[Tensor, " n"]], other: list[Float[Tensor, " n"]]) -> Tensor:
    """All scalar products, in float64."""
    return torch.stack([torch.stack([a @ b for b in other]) for a in one]).double().cpu()


def _some(batch: Any, most: int, generator: torch.Generator) -> Any:
    size = num_samples(batch)
    if size <= most:
        return batch
    chosen = torch.randperm(size, generator=generator)[:most]
    return take(batch, chosen.to(tensors_in(batch)[0].device))
