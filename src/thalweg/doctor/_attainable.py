"""What can be learned of the targets at all: by nearest neighbours, and by a linear model."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from thalweg.doctor._sample import Sample

NEIGHBOURS = 15

MOST_FEATURES = 400
"""A linear model takes as many random combinations of the features, at most."""


@dataclass(frozen=True)
class Attainable:
    """How much of the targets simple learners explain on samples that they have not seen.

    Args:
        explained: 1 − their loss over that of the best constant answer; 0 for nothing.
        z: covariance of answer and target over its standard error; about a standard normal number
            or less where the targets do not depend on the inputs.
    """

    explained: float
    z: float


def attainable(sample: Sample) -> Attainable | None:
    """The better of 15 nearest neighbours and ridge regression, leave-one-out.

    Classes: neighbours' shares with one count of the class frequencies added, cross-entropy.
    Numbers: squared error, averaged over outputs after each is divided by its variance.

    Returns:
        None where data are no table, fewer than 40, or the targets are constant.

    Cost: N² d operations for N ≤ 2,000 samples; no gradient.

    Source: leave-one-out of ridge regression by its hat matrix, Allen 1974 (PRESS).
    """
    y = sample.y
    if y is None or len(y) < 40 or not sample.x.numel() or sample.bad_targets:
        return None
    # The mean of a few samples of which the answer itself is one would be known by itself.
    goal = _one_hot(y) if sample.is_classes else y.double().reshape(len(y), -1)
    goal = goal[:, goal.std(0) > 0]
    if not goal.shape[1]:
        return None
    x = _standardised(sample.finite_x)
    near, line = _neighbours(x, goal), _ridge(x, goal)
    blind = (goal.sum(0) - goal) / (len(goal) - 1)
    is_shares = sample.is_classes or sample.is_binary
    losses = [_squares(answer, goal) for answer in (blind, near, line)]
    z = max(_agreement(answer, goal) for answer in (near, line))
    if is_shares:
        shrunk = (near * NEIGHBOURS + blind) / (NEIGHBOURS + 1)
        entropy = [_entropy(answer, goal) for answer in (blind, shrunk)]
        explained = 1 - float(entropy[1].mean() / entropy[0].mean())
    else:
        explained = 1 - float(min(loss.mean() for loss in losses[1:]) / losses[0].mean())
    return Attainable(max(0.0, min(1.0, explained)), z)


def carried_over(sample: Sample, held: Sample) -> tuple[float, float] | None:
    """Z of what a simple learner knows of a sample: expected on as many others, and found on them.

    The better of the two learners is asked. On samples of one kind z grows like √N.

    Returns:
        None where either is no table, or smaller than 40, or there is nothing to compare.

    Cost: N M d operations.
    """
    y, held_y = sample.y, held.y
    if y is None or held_y is None or min(len(y), len(held_y)) < 40 or not sample.x.numel():
        return None
    if sample.x.shape[1:] != held.x.shape[1:] or y.shape[1:] != held_y.shape[1:]:
        return None
    if sample.bad_targets or held.bad_targets or sample.is_classes != held.is_classes:
        return None
    if sample.is_classes:
        classes = y.unique()
        goal, asked = ((each[:, None] == classes).double() for each in (y, held_y))
    else:
        goal, asked = (each.double().reshape(len(each), -1) for each in (y, held_y))
    varies = (goal.std(0) > 0) & (asked.std(0) > 0)
    goal, asked = goal[:, varies], asked[:, varies]
    if not goal.shape[1]:
        return None
    x, others = _standardised(sample.finite_x), _standardised(sample.finite_x, held.finite_x)
    learners = ((_neighbours(x, goal), _of_neighbours), (_ridge(x, goal), _of_ridge))
    known = [(_agreement(answer, goal), of) for answer, of in learners]
    z, of = max(known, key=lambda each: each[0])
    return z * sqrt(len(asked) / len(goal)), _agreement(of(x, goal, others), asked)


def _one_hot(y: Tensor) -> Tensor:
    _, index = torch.unique(y, return_inverse=True)
    return torch.nn.functional.one_hot(index).double()


def _standardised(x: Tensor, others: Tensor | None = None) -> Tensor:
    """Features with mean 0 and variance 1; or those of others, by the same rule."""
    spread, mean = x.std(0), x.mean(0)
    kept = spread > 1e-12 * x.abs().amax(0).clamp_min(1e-300)
    x = ((x if others is None else others)[:, kept] - mean[kept]) / spread[kept]
    # One wild value must not be all there is to a feature.
    x = x.clamp(-5, 5)
    if x.shape[1] > MOST_FEATURES:
        mix = torch.randn(
            x.shape[1], MOST_FEATURES, generator=torch.Generator().manual_seed(0), dtype=x.dtype
        )
        x = x @ mix / sqrt(x.shape[1])
    return x


def _neighbours(x: Tensor, goal: Tensor) -> Tensor:
    """Mean goal of the nearest samples, itself left out."""
    if not x.shape[1]:
        return goal.mean(0).expand_as(goal)
    distance = torch.cdist(x, x)
    distance.fill_diagonal_(torch.inf)
    nearest = distance.topk(min(NEIGHBOURS, len(x) - 1), largest=False).indices
    return goal[nearest].mean(1)


def _of_neighbours(x: Tensor, goal: Tensor, others: Tensor) -> Tensor:
    """Mean goal of the nearest samples to others."""
    if not x.shape[1]:
        return goal.mean(0).expand(len(others), -1)
    nearest = torch.cdist(others, x).topk(min(NEIGHBOURS, len(x)), largest=False).indices
    return goal[nearest].mean(1)


def _with_one(x: Tensor) -> Tensor:
    return torch.cat([torch.ones(len(x), 1, dtype=x.dtype), x], 1)


def _inverted(x: Tensor) -> Tensor:
    """(XᵀX + 0.01 N)⁻¹ Xᵀ."""
    gram = x.T @ x
    gram += 0.01 * len(x) * torch.eye(len(gram), dtype=x.dtype)
    inverted: Tensor = torch.linalg.solve(gram, x.T)
    return inverted


def _of_ridge(x: Tensor, goal: Tensor, others: Tensor) -> Tensor:
    """Ridge regression's answers to others."""
    return _with_one(others) @ (_inverted(_with_one(x)) @ goal)


def _ridge(x: Tensor, goal: Tensor) -> Tensor:
    """Ridge regression's answer to each sample from the others: ŷ₋ᵢ = (ŷᵢ − hᵢ yᵢ)/(1 − hᵢ)."""
    x = _with_one(x)
    hat = x @ _inverted(x)
    leverage = hat.diagonal()[:, None].clamp_max(0.99)
    answer: Tensor = (hat @ goal - leverage * goal) / (1 - leverage)
    return answer


def _agreement(answer: Tensor, goal: Tensor) -> float:
    """How many standard errors the covariance of answers and goals is above zero."""
    products = ((answer - answer.mean(0)) * (goal - goal.mean(0)) / goal.var(0)).mean(1)
    return float(products.mean() / (products.std() / sqrt(len(products)) + 1e-300))


def _squares(answer: Tensor, goal: Tensor) -> Tensor:
    return ((answer - goal).square() / goal.var(0)).mean(1)


def _entropy(answer: Tensor, goal: Tensor) -> Tensor:
    answer = answer.clamp(1e-6, 1 - 1e-6)
    if goal.shape[1] == 1 or bool((goal.sum(1) != 1).any()):
        return -(goal * answer.log() + (1 - goal) * (1 - answer).log()).mean(1)
    return -(goal * answer.log()).sum(1)
