"""A loss that is a sum over the batch, or divided by its size twice."""

from __future__ import annotations

from dataclasses import replace
from math import inf, log2
from statistics import median

import torch

from thalweg._batch import num_samples, take
from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import HELPFUL, NOTHING
from thalweg.doctor._own_step import TIMES
from thalweg.doctor._readings import NOT_WELL, Readings
from thalweg.doctor.findings._learning_rate import is_thrown, lr_too_large
from thalweg.doctor.findings._step import is_scale_free

UNCLIPPED = 0.95
"""Of the gradient's norm, that is left in the median step where it is hardly ever clipped."""

CLEAR = 0.8
"""The loss of twice the samples is 2^±this times that of the samples, at least."""


def wrong_reduction(readings: Readings) -> Finding | None:
    """The loss grows or falls with the number of samples, and the step is wrong by that factor.

    It falls in no sound training: where that one learns nothing, no other rate need be seen to.
    """
    if readings.trains_well or readings.head.broadcast is not None:
        return None
    exponent = exponent_of(readings.problem)
    if exponent is None or abs(exponent) < CLEAR:
        return None
    # The step is that many times too large or small; a tenth or ten times of it must do better.
    # Where that is not paid for, it is a suspicion.
    is_known = readings.is_frugal or (exponent > 0 and is_thrown(readings))
    is_known |= exponent < 0 and _learns_nothing(readings)
    gain = 1.0 if is_known else readings.faster if exponent < 0 else readings.slower
    if gain < HELPFUL and (exponent < 0 or lr_too_large(readings) is None):
        return None
    return _told(readings, exponent)


def _learns_nothing(readings: Readings) -> bool:
    is_seen = not (readings.is_early or readings.watched.failure)
    return is_seen and readings.levels.explained > 0 and readings.learned < NOTHING


def _told(readings: Readings, exponent: float) -> Finding:
    size = readings.plan.batch_size
    how = (
        f"a sum over the {size} samples of a minibatch where the mean is usual, so that its "
        f"gradient is {size} times larger"
        if exponent > 0
        else f"divided by the number of samples more than once, so that its gradient is about "
        f"{size} times smaller"
    )
    return Finding(
        Ailment.REDUCTION,
        f"The loss is {how} than the learning rate allows for. Use reduction='mean', or another "
        f"learning rate.",
        (),
        {
            "exponent of the loss in the number of samples": exponent,
            "samples of a minibatch": float(size),
        },
        f"the loss of twice the samples is more than {2**CLEAR:.2g} times that of the samples, or "
        f"less than {2**-CLEAR:.2g} times; another learning rate learns more, or this one is too "
        f"large, or nothing is learned, or the mean is proved to do better; and {NOT_WELL}",
        abs(exponent) / CLEAR,
        readings.num_seen,
    )


def scaled_step(readings: Readings) -> Finding | None:
    """The step of their own multiplies the gradient of the loss, or goes uphill."""
    own, uses = readings.own_step, readings.watched.uses
    if own is None or not own.is_scaled or readings.trains_well or not uses:
        return None
    is_clipped = median(use.ratio for use in uses) < UNCLIPPED
    if own.scale > 0 and (is_clipped or is_scale_free(readings.optimizer)):
        return None
    how = (
        f"{own.scale:.3g} times as large as that of the loss that was handed over, which is what "
        f"the learning rate is usually meant for. Is a mean taken twice, or a sum?"
        if own.scale > 0
        else "turned round: it climbs the loss that was handed over. Is its sign lost?"
    )
    return Finding(
        Ailment.REDUCTION,
        f"The gradient that the step of your own uses is {how}",
        (),
        {"factor by which the loss's gradient is in it": own.scale},
        f"of the gradient that the optimizer is given, fitted by a ∇L + c θ, nothing but a ∇L is "
        f"seen, with a below 1/{TIMES:g} or above {TIMES:g} for an optimizer that heeds its size, "
        f"and no clipping, or below 0; and {NOT_WELL}",
        max(abs(log2(abs(own.scale))) / log2(TIMES), 1.0) if own.scale else inf,
    )


def perhaps_reduction(readings: Readings) -> Finding | None:
    """It falls with the number of samples, and no rate is seen to learn more within a probe."""
    if readings.is_early or readings.watched.failure or readings.trains_well:
        return None
    if readings.head.broadcast is not None:
        return None
    exponent = exponent_of(readings.problem)
    if exponent is None or exponent > -CLEAR:
        return None
    return replace(_told(readings, exponent), needs_proof=True)


def exponent_of(problem: Problem) -> float | None:
    """K of loss ∝ N^k: the same samples once and twice."""
    problem = problem.copied()
    problem.model.eval()
    try:
        with reading(), torch.no_grad():
            batch = problem.batches[0]
            half = min(num_samples(batch), 32)
            once = take(batch, slice(half))
            index = torch.arange(half).repeat(2)
            twice = take(batch, index)
            first = abs(float(problem.evaluate(problem.model, once).loss))
            second = abs(float(problem.evaluate(problem.model, twice).loss))
    except (ThalwegError, RuntimeError):
        return None
    if not (0 < first < float("inf") and 0 < second < float("inf")):
        return None
    return log2(second / first)
