"""Trust region by conjugate gradients, as Steihaug and Toint have it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim._metric import Metric
from thalweg.optim._newton_cg import refuse_products
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer, no_decrease
from thalweg.optim._radius import MAX_TRIES, next_radius, refuse_radius
from thalweg.optim._trust_region import MIN_RATIO
from thalweg.optim._walk import Proposal, Walk
from thalweg.surface import HESSIAN, Curvature


class TrustRegionCG(SurfaceOptimizer):
    """Conjugate gradients on gᵀs + ½ sᵀCs until they leave ‖s‖ ≤ Δ or meet negative curvature.

    The step is at least as good as steepest descent's best in the region. The way of the iterations
    is kept, so that a retry at a smaller Δ costs a forward pass and no product.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        radius: Δ at first, in the metric [param].
        max_radius: Δ at most.
        max_products: of a step.
        curvature: `HESSIAN`, or `GGN`, which needs `bind`.
        metric: in which steps are measured; it preconditions the iterations.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.

    Raises:
        OptimizerError: if an argument makes no sense.

    Cost: up to `max_products` products, and twice as many vectors; a forward pass for each Δ.

    Source: Steihaug 1983, "The conjugate gradient method and trust regions in large scale
    optimization"; Toint 1981; as Nocedal and Wright 2006, algorithms 7.2 and 4.1.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
        >>> loss = TrustRegionCG([w], radius=1.0).step(lambda: (w**2).sum())
        >>> w.data
        tensor([2.4000, 3.2000])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        radius: float = 1.0,
        max_radius: float = 1000.0,
        max_products: int = 50,
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
    ) -> None:
        refuse_radius(radius, max_radius)
        refuse_products(max_products)
        super().__init__(
            params,
            lr=lr,
            maximize=maximize,
            curvature=curvature,
            metric=metric,
            refresh_every=refresh_every,
        )
        self.radius = radius
        self.max_radius = max_radius
        self.max_products = max_products

    def _begin(self) -> None:
        self.memory["radius"] = self.radius

    def _advance(self, walk: Walk) -> Outcome:
        if walk.gradient_norm == 0:
            return Outcome(None, False, "the gradient is zero: no direction to start from")
        gradient = self.metric.whitened(walk.gradient)

        def multiply(u: Tensor) -> Tensor:
            return self.metric.whitened(walk.product(self.metric.lifted(u)))

        radius: float = self.memory["radius"]
        way = steihaug_way(multiply, gradient, radius, self.max_products)
        for _ in range(MAX_TRIES):
            tried = radius
            step, image = way.at(tried)
            attempt = walk.attempt(
                Proposal(self.metric.lifted(step), float(gradient @ step), float(image @ step))
            )
            ratio = walk.ratio(attempt)
            length = float(torch.linalg.vector_norm(step))
            radius = next_radius(tried, ratio, length, self.max_radius)
            if is_accepted := ratio > MIN_RATIO:
                self.memory["radius"] = radius
                break
            if attempt.is_lost:
                break
        # Where none is accepted Δ stays what it was: on other data it is the better guess.
        return Outcome(
            attempt,
            is_accepted,
            way.reason if is_accepted else no_decrease("radii down to", tried, attempt),
            radius=tried,
            subspace_size=len(way.points) - 1,
            lowest_curvature=way.lowest,
            highest_curvature=way.highest,
        )


@dataclass(frozen=True)
class SteihaugWay:
    """The way of the iterates from 0, along which the model falls and the length grows.

    Args:
        points: z₀ = 0, z₁, …, the last perhaps on the border [param].
        images: C z₀, C z₁, … [loss/param].
        lowest: the smallest dᵀCd/dᵀd of the directions gone [loss/param²].
        highest: the largest.
        reason: why it ended, in words.
    """

    points: tuple[Float[Tensor, " n"], ...]
    images: tuple[Float[Tensor, " n"], ...]
    lowest: float
    highest: float
    reason: str

    def at(self, radius: float) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
        """The last point of the way in the ball, and its image: what a smaller Δ would have given.

        Args:
            radius: Δ.
        """
        lengths = [float(torch.linalg.vector_norm(z)) for z in self.points]
        outside = next((i for i, length in enumerate(lengths) if length > radius), None)
        if outside is None:
            return self.points[-1], self.images[-1]
        z, Cz = self.points[outside - 1], self.images[outside - 1]
        d, Cd = self.points[outside] - z, self.images[outside] - Cz
        τ = _to_the_border(z, d, radius)
        return z + τ * d, Cz + τ * Cd


def steihaug_way(
    multiply: Callable[[Tensor], Tensor],
    gradient: Float[Tensor, " n"],
    radius: float,
    max_products: int,
) -> SteihaugWay:
    """Conjugate gradients from 0 towards Cz = −g, to the border or the tolerance.

    Args:
        multiply: v ↦ C v.
        gradient: g (n,), not zero.
        radius: Δ.
        max_products: iterations at most.

    Returns:
        The way, which ends at the step of this radius.

    Cost: a product an iteration.

    Source: Steihaug 1983; Nocedal and Wright 2006, algorithm 7.2 with the tolerance of 7.1.

    Example:
        >>> import torch
        >>> way = steihaug_way(lambda v: -v, torch.tensor([3.0, 4.0]), radius=10.0, max_products=5)
        >>> way.points[-1], way.reason
        (tensor([-6., -8.]), 'negative curvature, to the border')
    """
    z, r = torch.zeros_like(gradient), gradient
    d, rr = -gradient, float(gradient @ gradient)
    target = min(0.5, rr**0.25) * rr**0.5
    points, images, seen = [z], [torch.zeros_like(z)], []
    reason = f"{max_products} products spent"
    for _ in range(max_products):
        image = multiply(d)
        bend = float(d @ image)
        seen.append(bend / float(d @ d))
        α = rr / bend if bend > 0 else 0.0
        leaves = bend > 0 and float(torch.linalg.vector_norm(z + α * d)) >= radius
        if bend <= 0 or leaves:
            α = _to_the_border(z, d, radius)
            reason = "to the border" if leaves else "negative curvature, to the border"
        z, r = z + α * d, r + α * image
        points.append(z)
        images.append(r - gradient)
        if bend <= 0 or leaves:
            break
        before, rr = rr, float(r @ r)
        if rr**0.5 < target:
            reason = "solved to the tolerance"
            break
        d = -r + rr / before * d
    return SteihaugWay(tuple(points), tuple(images), min(seen), max(seen), reason)


def _to_the_border(z: Tensor, d: Tensor, radius: float) -> float:
    """τ ≥ 0 with ‖z + τd‖ = Δ, in the form that does not cancel."""
    a, b, c = float(d @ d), float(z @ d), float(z @ z) - radius**2
    root = sqrt(max(0.0, b * b - a * c))
    return (root - b) / a if b < 0 else -c / (b + root) if b + root else 0.0
