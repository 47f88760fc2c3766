"""Newton's method on minibatches: K-FAC directions, their length by the exact GGN."""

from __future__ import annotations

from collections.abc import Iterable
from math import isfinite
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from thalweg._batch import num_samples, take, tensors_in
from thalweg._errors import OptimizerError
from thalweg._problem import Problem
from thalweg.optim._kfac import KFAC
from thalweg.optim._metric import Metric
from thalweg.optim._objective import Objective, ProblemObjective
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer
from thalweg.optim._walk import Proposal, Walk
from thalweg.surface import GGN, Curvature

CURVATURE_SAMPLES = 128
"""Samples of a batch on which the curvature along the directions is read."""

FACTOR = 1.5
"""By which λ moves where the ratio is above ¾ or below ¼."""


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

    The directions are Δ = −M⁻¹∇L, with M the K-FAC metric averaged over batches, and the last step
    δ; their lengths are those of the lowest point of

        gᵀs + ½ sᵀ(C + λM)s,    s = αΔ + μδ,

    where C is the exact GGN on up to 128 samples of the batch. The GGN has no negative curvature to
    be drawn to, and α and μ stand in for a learning rate and a momentum, which nobody has to set.
    λ moves by the ratio of actual to predicted decrease; a step after which the loss is
    not finite is taken back.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        damping: λ at first.
        metric: M; K-FAC of the model that is bound, averaged with `decay`, when left out.
        decay: of the average over readings of the metric.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.
        seed: of what is drawn at random.

    Raises:
        OptimizerError: in `step`, if the loss comes as a closure, which does not tell the output.

    Cost: a gradient, two products with the GGN on 128 samples, and a forward pass; the metric's
    reading.

    Source: Martens and Grosse 2015; metric and damping are those of `KFAC`, and the curvature is
    read on part of the batch.

    Example:
        >>> import torch
        >>> x = torch.linspace(-1, 1, 64)[:, None]
        >>> model = torch.nn.Linear(1, 1)
        >>> opt = StochasticNewton(model.parameters())
        >>> for rows in torch.arange(64).split(16) * 4:
        ...     batch = x[rows], 3 * x[rows]
        ...     loss = opt.bind(model, torch.nn.functional.mse_loss, batch).step()
        >>> bool(loss < 1e-2)
        True
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        damping: float = 1.0,
        metric: Metric | None = None,
        decay: float = 0.9,
        maximize: bool = False,
        refresh_every: int = 20,
        seed: int = 0,
    ) -> None:
        if not damping > 0:
            raise OptimizerError(f"damping={damping}; give a number above 0, such as 1")
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
            self.metric = KFAC(bound, decay=self.decay)
            self._attached = []
        return self

    def _begin(self) -> None:
        self.memory["damping"] = self.damping
        self.remember("previous", self.remembered("previous"))

    def _curvature_of_step(self, objective: Objective) -> Curvature | None:
        if not isinstance(objective, ProblemObjective):
            raise OptimizerError(
                "StochasticNewton needs the model's output, which a closure does not tell; hand "
                "the loss over by bind(model, loss, (x, y)), or take SaddleFreeNewton"
            )
        return None

    def _is_metric_due(self) -> bool:
        # The first readings are of few samples and of a network that moves fast.
        is_young = self.memory["step"] in (1, 3, 7, 13)
        return is_young or super()._is_metric_due()

    def _advance(self, walk: Walk) -> Outcome:
        if walk.gradient_norm == 0:
            return Outcome(None, False, "the gradient is zero")
        damping = self.memory["damping"]
        directions = self._directions(walk)
        images = self._images(walk, directions)
        white = [self.metric.unwhitened(d) for d in directions]
        gram = torch.stack([d @ image for d in directions for image in images]).double().cpu()
        lengths = torch.stack([a @ b for a in white for b in white]).double().cpu()
        k = len(directions)
        curved, measured = gram.view(k, k), lengths.view(k, k)
        curved = (curved + curved.T) / 2
        slopes = torch.stack([d @ walk.gradient for d in directions]).double().cpu()
        y = two_direction_step(curved + damping * measured, slopes)
        step = sum(float(c) * d for c, d in zip(y, directions, strict=True))
        assert isinstance(step, Tensor)
        bend = float(y @ (curved + damping * measured) @ y)
        attempt = walk.attempt(Proposal(step, float(slopes @ y), bend))
        seen = {"damping": damping, "subspace_size": k, "highest_curvature": float(curved[0, 0])}
        if not isfinite(attempt.loss):
            self.memory["damping"] = damping * FACTOR**4
            self.remember("previous", torch.zeros_like(step))
            return Outcome(attempt, False, "the loss after the step is not finite", **seen)
        self.memory["damping"] = _moved(damping, walk.ratio(attempt))
        self.remember("previous", attempt.step)
        return Outcome(attempt, True, "", **seen)

    def _directions(self, walk: Walk) -> list[Float[Tensor, " n"]]:
        newest = -self.metric.whitened(self.metric.whitened(walk.gradient))
        previous = self.remembered("previous")
        return [newest, previous] if bool(previous.any()) else [newest]

    def _images(
        self, walk: Walk, directions: list[Float[Tensor, " n"]]
    ) -> list[Float[Tensor, " n"]]:
        """C d of each direction, from some samples of every batch."""
        assert isinstance(walk.objective, ProblemObjective)
        problem = walk.objective.problem
        some = [_some(batch, self.generator()) for batch in problem.batches]
        part = ProblemObjective(problem.with_data(some), walk.objective.params, self._sign())
        with part.leaving_no_trace():
            product = part.local(GGN).product
            assert product is not None
            images = [product(d) for d in directions]
        share = sum(map(num_samples, some)) / max(problem.num_samples, 1)
        walk.num_products += len(images)
        walk.gradients_spent += share * (1 + GGN.cost * len(images))
        return images


def _some(batch: Any, generator: torch.Generator) -> Any:
    size = num_samples(batch)
    if size <= CURVATURE_SAMPLES:
        return batch
    chosen = torch.randperm(size, generator=generator)[:CURVATURE_SAMPLES]
    return take(batch, chosen.to(tensors_in(batch)[0].device))


def _moved(damping: float, ratio: float) -> float:
    if ratio > 0.75:
        return max(damping / FACTOR, 1e-6)
    return min(damping * FACTOR, 1e6) if ratio < 0.25 else damping
