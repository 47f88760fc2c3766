"""Levels: which training losses mean that nothing, half, or all that can be learned was learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from statistics import fmean

import torch
from torch import Tensor, nn

from thalweg._batch import Batch, call_of
from thalweg._errors import ThalwegError
from thalweg._loss import Kind, known_loss
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg._score import constant_loss
from thalweg.doctor._attainable import Attainable, attainable
from thalweg.doctor._domain import SQUASHES
from thalweg.doctor._head import Head
from thalweg.doctor._sample import Sample

HALF = 0.5
"""A network trains if it learns this share of what simple learners find in the data."""

EARLY = 0.4
"""After a single epoch, it trains from this share on, for all that can be told."""

NOTHING = 0.1
"""Learning less than this share of the attainable is learning nothing."""

HELPFUL = 0.2
"""Another learning rate helps if it gains this share of the attainable in the same steps."""

MOST = 0.8
"""It trains well from this share on."""

FAINT = 0.1
"""What simple learners explain counts as this much at least: a network may find more."""

RELAPSE, SHORTEST = 0.1, 10
"""Of what can be learned, that an epoch, of so many steps at least, loses again where steps are too
large, or too noisy: what such a training has learned by then need not last."""

NUM_BATCHES = 8
"""Minibatches that a constant answer is fitted to, where there is no formula."""


@dataclass(frozen=True)
class Levels:
    """Losses of a minibatch that a training is measured by [loss].

    Args:
        blind: of the best answer that ignores the input, None where not known.
        floor: the least that the targets allow, the entropy of soft ones.
        explained: share of blind − floor that simple learners explain on unseen samples, 1 where
            that is not known.
        attainable: the same with its doubt, None where not known.
    """

    blind: float | None
    floor: float
    explained: float
    attainable: Attainable | None

    def at(self, share: float, start: float) -> float:
        """The loss at which that share of the attainable is learned; of the start if not known."""
        above = start if self.blind is None else self.blind
        return above - share * self.explained * max(above - self.floor, 0.0)

    def lost_since(self, losses: Sequence[float], steps_in_epoch: int) -> int | None:
        """The step by which `EARLY` was learned, and after which an epoch lost `RELAPSE` again.

        None where nothing of the kind was seen.
        """
        length = max(steps_in_epoch, SHORTEST)
        least, at = self.at(EARLY, losses[0]) if losses else -inf, None
        for end in range(length, len(losses) + 1, length):
            mean = fmean(losses[end - length : end])
            if mean <= least:
                least, at = mean, end
            elif at and mean > least + self.at(0.0, losses[0]) - self.at(RELAPSE, losses[0]):
                return at
        return None

    def lowest_at(self, losses: Sequence[float]) -> int | None:
        """The last step of the lowest stretch of 10; None where too little was learned in it."""
        ends = range(SHORTEST, len(losses) + 1)
        means = {end: fmean(losses[end - SHORTEST : end]) for end in ends}
        lowest = min(means, key=lambda end: means[end], default=None)
        if lowest is None or means[lowest] > self.at(NOTHING, losses[0]):
            return None
        return lowest


def levels_of(problem: Problem, sample: Sample, head: Head, batch_size: int) -> Levels:
    """The levels of a problem. Cost: no gradient of the network."""
    found = attainable(sample)
    explained = 1.0 if found is None else max(found.explained, FAINT)
    if head.kind is Kind.ELEMENTWISE:
        # An absolute error falls like the root of the square.
        explained = 1 - (1 - explained) ** 0.5
    if is_own_target(sample):
        explained = _principal(problem, sample)
    return Levels(
        _blind(problem, head, batch_size), _floor(problem, sample, head), explained, found
    )


def _floor(problem: Problem, sample: Sample, head: Head) -> float:
    known = known_loss(problem.loss)
    if head.kind is Kind.CLASSES and known and known.label_smoothing and head.num_classes:
        epsilon, c = known.label_smoothing, head.num_classes
        shares = torch.full((c,), epsilon / c, dtype=torch.float64)
        shares[0] += 1 - epsilon
        return float(torch.special.entr(shares).sum())
    y = sample.y
    if y is None or not y.is_floating_point() or float(y.min()) < 0 or float(y.max()) > 1:
        return 0.0
    if head.kind in (Kind.BINARY, Kind.BINARY_LOGITS):
        return float((torch.special.entr(y) + torch.special.entr(1 - y)).mean())
    if head.kind is Kind.CLASSES and y.ndim == 2:
        return float(torch.special.entr(y).sum(1).mean())
    return 0.0


def is_own_target(sample: Sample) -> bool:
    """Whether the network is to return what it is given."""
    return (
        sample.y is not None
        and sample.y.shape == sample.x.shape
        and torch.equal(sample.y, sample.x)
    )


def _principal(problem: Problem, sample: Sample) -> float:
    """Share of the variance in as many principal components as the narrowest layer has units."""
    widths = [m.out_features for m in problem.model.modules() if isinstance(m, nn.Linear)]
    x = sample.finite_x - sample.finite_x.mean(0)
    squares = torch.linalg.svdvals(x).square()
    return float(
        squares[: min(widths, default=len(squares))].sum() / squares.sum().clamp_min(1e-300)
    )


def _blind(problem: Problem, head: Head, batch_size: int) -> float | None:
    known = known_loss(problem.loss)
    if known is not None and known.reduction == "mean":
        try:
            value = constant_loss(problem)
        except (ThalwegError, RuntimeError):
            return None
        if value is not None and isfinite(value):
            return value
    if not problem.loss_takes_target or problem.loss is None or not head.output_shape[1:]:
        return None
    try:
        with reading():
            return _fitted(problem, head, batch_size)
    except (ThalwegError, RuntimeError):
        return None


def _fitted(problem: Problem, head: Head, batch_size: int) -> float | None:
    """The loss of a constant output, fitted by L-BFGS; starting at zero."""
    generator = torch.Generator().manual_seed(0)
    stream = problem.minibatches(batch_size, generator)
    batches = [next(stream) for _ in range(NUM_BATCHES)]
    like = next(iter(problem.parameters.values()))
    constant = torch.zeros(head.output_shape[1:], dtype=like.dtype, device=like.device)
    constant.requires_grad_()
    optimizer = torch.optim.LBFGS([constant], max_iter=60, line_search_fn="strong_wolfe")

    def mean() -> Tensor:
        losses = [problem.evaluate(_answering(constant, head, batch, problem), batch).loss
                  for batch in batches]  # fmt: skip
        return torch.stack(losses).mean()

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = mean()
        loss.backward()
        return loss

    optimizer.step(closure)
    value = float(mean().detach())
    return value if isfinite(value) else None


def _answering(
    constant: Tensor, head: Head, batch: Batch, problem: Problem
) -> Callable[..., Tensor]:
    answer = constant
    if head.kind is Kind.BINARY:
        answer = constant.sigmoid()
    elif head.kind is Kind.LOG_CLASSES:
        answer = constant.log_softmax(0)
    elif head.missing:
        answer = SQUASHES[head.missing](constant[None])[0]
    target = call_of(batch, problem.model).target
    return lambda *_, **__: answer.expand(len(target), *answer.shape)
