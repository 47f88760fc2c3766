"""The critical-point card, as much of it as a budget buys."""

from __future__ import annotations

from time import perf_counter

import torch
from torch import Tensor

from thalweg._budget import Budget
from thalweg._problem import Problem
from thalweg.curvature import CriticalPoint, StepRule, critical_point
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._planning import LEAST_CURVED, CurvaturePlan, is_tight, plan_curvature
from thalweg.surface import Point, Surface


def card_of(
    surface: Surface, optimizer: torch.optim.Optimizer, seed: int, ledger: Ledger
) -> CriticalPoint | None:
    """The card of the point where the model is; None where the budget buys too few products.

    Args:
        surface: of the parameters that were chosen.
        optimizer: in use or assumed, whose stability limit is set against the curvature.
        seed: of the probes, and of the samples where the data are read in part.
        ledger: what may be spent, and what was; what was left out is noted there.
    """
    problem, budget = surface.problem, ledger.budget
    with ledger.measuring("curvature: eigenvalues, index, verdict", 0.25) as gradients:
        point = surface.here()
        if point.unused:
            ledger.assume(_said_unused(point.unused))
        generator = torch.Generator().manual_seed(seed)
        point, plan, seconds = _affordable(surface, point, budget, generator)
        if plan is None:
            # What a clock shows has no place in an examination that repeats exactly.
            price = f" of {seconds:.2g} s each" if budget.is_seconds else ""
            ledger.omit(
                "curvature",
                f"{budget} buys too few products with the Hessian{price}; give a larger budget",
            )
            return None
        read = point.problem.num_samples
        if read < problem.num_samples:
            ledger.omit(
                "curvature on all data",
                f"it was read on {read:,} of {problem.num_samples:,} samples, to fit {budget}",
            )
        rule = StepRule.of(optimizer)
        scale = None
        if rule is None:
            ledger.omit(
                "stability limit",
                f"none is known for {type(optimizer).__name__}; its learning "
                f"rate was judged by the trials alone",
            )
        elif rule.epsilon is not None:
            scale = _root_mean_square_gradient(point.problem, surface, generator)
        card = critical_point(
            point,
            rule=rule,
            preconditioner=scale,
            generator=generator,
            dense_up_to=plan.dense_up_to,
            num_probes=max(plan.num_probes, 1),
        )
        gradients.append(read / problem.num_samples * card.num_gradients)
    return card


def _affordable(
    surface: Surface, point: Point, budget: Budget, generator: torch.Generator
) -> tuple[Point, CurvaturePlan | None, float]:
    """The point on as many samples as the budget buys, what is read there, and a product's seconds.

    Where a product is many small operations fewer samples are no faster, so that they are timed
    again. A budget in gradients asks no clock.
    """
    while True:
        seconds = _seconds_per_product(point) if budget.is_seconds else 1.0
        size, available = surface.layout.size, point.problem.num_samples
        least = LEAST_CURVED[is_tight(surface.problem, budget)]
        plan = plan_curvature(budget, seconds, size, available, least)
        if plan is None or plan.num_samples is None:
            return point, plan, seconds
        part = surface.problem.subsampled(plan.num_samples, generator)
        point = Surface(part, surface.layout.names).here()
        if not budget.is_seconds:
            return point, plan, seconds


def _said_unused(names: tuple[str, ...]) -> str:
    some = ", ".join(map(repr, names[:5])) + (", …" if len(names) > 5 else "")
    return (
        f"{len(names)} parameter(s) do not enter the loss: {some}; their gradient and curvature "
        f"were counted as zero. Remove them, or freeze them with requires_grad_(False)."
    )


def _seconds_per_product(point: Point, num_products: int = 3) -> float:
    """The mean of some products with the Hessian, after one that builds the graph."""
    hessian, vector = point.hessian(), torch.ones_like(point.vector)
    _ = hessian @ vector
    start = perf_counter()
    for _ in range(num_products):
        _ = hessian @ vector
    return (perf_counter() - start) / num_products


def _root_mean_square_gradient(
    problem: Problem, surface: Surface, generator: torch.Generator, num_batches: int = 8
) -> Tensor:
    """√v that Adam would settle on here: the root mean square of minibatch gradients."""
    size = problem.batch_size or 64
    squares = torch.zeros(surface.layout.size, dtype=torch.float64)
    for _, batch in zip(range(num_batches), problem.minibatches(size, generator), strict=False):
        part = problem.with_data([batch])
        gradient = Surface(part, surface.layout.names).here().gradient_vector
        squares += gradient.double().cpu().square() / num_batches
    return squares.sqrt().to(surface.layout.device)
