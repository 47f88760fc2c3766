"""The learning rate that a sweep over all sizes points to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import inf, isfinite, log
from statistics import median, stdev

import torch
from torch import nn

from thalweg._errors import ThalwegError
from thalweg._problem import OptimizerFactory, Problem
from thalweg._reading import reading
from thalweg._recipe import set_mode, take_step
from thalweg._training import parameters_of, threads, without_leftover
from thalweg.doctor._levels import HELPFUL
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "the learning rate of a range test"

LOWEST, HIGHEST = 1e-5, 10.0
"""Learning rates that are swept over."""

TIMES_OWN = 1e4
"""Of the rate in use, up to which they go where that is higher: a loss that is divided by thousands
of samples takes as many times the usual rate. Not where a step is about as long as the rate."""

NUM_STEPS = 80
"""Of the sweep: 13 a decade."""

UNCHANGED = 10
"""Steps of the sweep, the first, in which the rate is too small to matter."""

SMOOTHING = 0.85
"""Of the losses, by exponential averages."""

APART, MOST_RUNS = 10**0.5, 4
"""Rates that are compared differ by this factor, and so many trainings are paid for it."""

LASTS, MILDER = 2 / 3, 0.5
"""Of the rate that short trainings end lowest with, what a whole one is taken to stand; and of that
the rival's."""

TWICE = 2.0
"""Adagrad's steps shrink by themselves: of its rates a whole training stands what a short one does,
and the rival's is so many times that."""

NEARLY = 0.9
"""Of what the best lowers the loss by, is as good."""

SHARE = 0.25
"""Of the steps of their training, for these at most."""

BELOW = 0.1
"""Of the rate at which the loss is least, or begins to rise: there the next step already rises."""

SCALE_FREE = (torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop)
"""Optimizers whose step is about as long as the rate, whatever the gradient."""

AT_MOST, SUITS = 0.1, 0.03
"""Of a weight's size, that such a step changes it by: with more, nothing is left of it after a few
steps; 3 % is Adam's default of 0.001 for layers of 300 inputs.
"""

RISEN = 0.2
"""A smoothed loss above where it began by this share of it has begun to rise."""

FALLS = 0.02
"""Short trainings that lower the loss by less than this share of it say nothing of their rates."""


def lr_of_range_test(readings: Readings) -> Remedy | NotApplicable:
    """Raises the learning rate at every step from 1e-5 to 10, and takes a tenth of the best.

    Where that is higher, to ten thousand times the one in use.

    The best is where the smoothed loss is least before it rises again. A sweep is over so soon that
    momentum and normalisation lag behind it: short trainings at that rate and at those next to it
    correct it. Settings other than the rate stay what they are. Where the loss rests on a plateau
    and never falls, a tenth of the rate at which it rises is taken. Where a smaller rate was tried
    already and learned far more, the short trainings begin there, without a sweep; where a larger
    one was, they do so where the budget is too small for one, or a sweep points to less. Optimizers
    that divide by the gradient's size begin at no more than a tenth of a usual weight, and at 3 %
    of it without a sweep.

    Short trainings favour steps that are too large for a whole one: two thirds of the rate that
    they find are taken, and half of that is the rival, or three times that where nothing larger was
    tried. Not of Adagrad's, whose steps shrink by themselves: that rate is taken, and twice it is
    the rival.

    Cost: 80 steps of training, and at most four short trainings, see `refined`.

    Source: L. Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, the
    range test; a tenth of the minimum is the habit of practitioners (fastai's), not his.
    """
    problem = readings.problem
    factory = problem.optimizer
    assert factory is not None, "trials have an optimizer"
    before = float(readings.optimizer.param_groups[0]["lr"])
    if not isfinite(before):
        return NotApplicable(NAME, "the one in use is not finite")
    if len(readings.optimizer.param_groups) > 1:
        return NotApplicable(NAME, "the optimizer has several groups of parameters")
    if isinstance(begin := _begin(readings, before), NotApplicable):
        return begin
    after, spent = begin.rate, begin.spent
    by_size = not spent and not begin.is_probed
    shrinks = isinstance(readings.optimizer, torch.optim.Adagrad)
    # The largest that was tried may still be too small.
    is_largest = begin.is_probed and after > before
    said = "for weights of this size" if by_size else "of a range test"
    if readings.observed is not None and before > 0:
        own = readings.probe.cost
        most = inf if problem.epochs is None else SHARE * readings.total_steps
        most = min(most, readings.affordable - spent)
        probe = replace(readings.probe, most=own + most)
        if probe.num_steps > most and spent and not begin.is_probed:
            # Nothing corrects it, and what a sweep points to is too large more often than not.
            after /= APART

        def ends_at(rate: float) -> float | None:
            # Rounded, so that what was probed already is not paid for once more.
            end = probe.at(float(f"{rate / before:.9g}"))
            tried[rate] = inf if end is None else end
            return end

        tried: dict[float, float] = {}
        after = refined(after, ends_at, readings.start)
        end = ends_at(after)
        is_largest &= not any(rate > after and at < inf for rate, at in tried.items())
        if end is not None and end <= (1 - FALLS) * readings.start:
            after *= 1.0 if shrinks else LASTS
        spent += round(probe.cost - own)
    if before > 0 and abs(log(after / before)) < log(1.5):
        return NotApplicable(NAME, "it is about the one in use")
    if shrinks:
        rival = _at(after * TWICE, before, factory, "twice a range test's")
    elif is_largest:
        rival = _at(after * APART, before, factory, "three times a range test's")
    else:
        rival = _at(after * MILDER, before, factory, "half of a range test's")
    remedy = _at(after, before, factory, said)
    return replace(remedy, num_samples=spent * readings.plan.batch_size, rivals=(rival,))


@dataclass(frozen=True)
class Begin:
    """Where short trainings begin.

    Args:
        rate: of the first.
        spent: steps that were paid for it: of the sweep.
        is_probed: whether a short training learned far more with it already.
    """

    rate: float
    spent: int
    is_probed: bool = False


def _begin(readings: Readings, before: float) -> Begin | NotApplicable:
    """The rate that short trainings begin with."""
    suited = _suited(readings)
    known = _probed_that_helps(readings)
    if known is not None and (known < 1 or readings.affordable < NUM_STEPS):
        # What is too small may be so by any factor, and is swept where that can be paid.
        return Begin(known * before, 0, is_probed=True)
    if readings.affordable < NUM_STEPS and suited is not None:
        return Begin(SUITS * suited, 0)
    if readings.affordable < NUM_STEPS:
        return NotApplicable(NAME, "it would leave too little of the budget to prove it")
    highest = max(HIGHEST, TIMES_OWN * before) if suited is None else HIGHEST
    try:
        rates, losses = swept(readings.problem, readings.plan.batch_size, highest)
    except ThalwegError as error:
        return NotApplicable(NAME, str(error))
    best = least(rates, losses)
    best = rise(rates, losses) if best is None else best
    if best is None:
        return NotApplicable(
            NAME, f"no learning rate from {LOWEST:g} to {highest:g} lowers the loss"
        )
    # A sweep ends too soon to show what such steps do to the weights in the long run.
    found = min(BELOW * best, inf if suited is None else AT_MOST * suited)
    if known is not None and known * before > found:
        # Where a short training learned far more, a sweep that points to less ended too soon.
        return Begin(known * before, len(losses), is_probed=True)
    return Begin(found, len(losses))


def _suited(readings: Readings) -> float | None:
    """The size of a usual weight, where a step is about as long as the rate whatever the gradient.

    The median over weight matrices of their root mean square, or of torch's own initialisation
    where that is larger. None for other optimizers.
    """
    if not isinstance(readings.optimizer, SCALE_FREE):
        return None
    sizes = []
    for weight in readings.problem.model.parameters():
        if weight.ndim > 1 and weight.requires_grad:
            drawn = (3 * weight[0].numel()) ** -0.5
            sizes.append(max(float(weight.detach().double().square().mean().sqrt()), drawn))
    size = median(sizes) if sizes else 0.0
    return size if 0 < size < inf else None


def _at(rate: float, before: float, factory: OptimizerFactory, said: str) -> Remedy:
    after = float(f"{rate:.2g}")
    return Remedy(
        f"learning rate {after:g}, {said}",
        f"for group in optimizer.param_groups:  # {before:g} -> {after:g}\n"
        f'    group["lr"] = {after:g}',
        lambda problem, _: replace(problem, optimizer=_with_rate(factory, after)),
        changes_step=True,
        is_direct=True,
    )


def _probed_that_helps(readings: Readings) -> float | None:
    """The factor of the rate in use at which a probe learned most, if it did far more."""
    if readings.observed is None:
        return None
    probe = readings.probe
    own = (1, probe.num_steps)
    probed = [factor for factor, *rest in probe.runs if factor != 1 and tuple(rest) == own]
    gains = {factor: readings.gain(factor) for factor in probed}
    best = max(gains, key=lambda factor: gains[factor], default=1.0)
    return best if gains.get(best, 0.0) >= HELPFUL else None


def refined(rate: float, ends_at: Callable[[float], float | None], start: float) -> float:
    """The rate downhill from that one, by factors of √10, at which short trainings end lowest.

    Or the smallest tried that lowers the loss nearly as far: a short training favours steps that
    are too large for a whole one.

    Args:
        rate: to begin with.
        ends_at: the loss that a short training ends with, None where no more may be spent.
        start: the loss that they begin with.
    """
    known: dict[int, float] = {}

    def end(place: int) -> float:
        if place not in known and len(known) < MOST_RUNS:
            found = ends_at(rate * APART**place)
            known[place] = inf if found is None else found
        return known.get(place, inf)

    at = 0
    way = -1 if end(0) >= end(-1) else 1
    while end(at + way) < end(at):
        at += way
    if known[at] > (1 - FALLS) * start:
        return rate
    enough = start - NEARLY * (start - known[at])
    at = min((place for place, loss in known.items() if loss <= enough), default=at)
    return rate * APART**at


def swept(
    problem: Problem, batch_size: int, highest: float = HIGHEST
) -> tuple[list[float], list[float]]:
    """Learning rates up to the highest, and the losses of the minibatches before such steps."""
    copied = problem.copied()
    generator = torch.Generator().manual_seed(0)
    rates: list[float] = []
    losses: list[float] = []
    with reading(), threads(1):
        torch.manual_seed(0)
        assert copied.optimizer is not None
        optimizer = copied.optimizer(parameters_of(copied.model))
        set_mode(copied)
        stream = without_leftover(copied.minibatches(batch_size, generator), copied.model)
        for step, batch in enumerate(islice(stream, NUM_STEPS)):
            rate = LOWEST * (highest / LOWEST) ** (step / (NUM_STEPS - 1))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = float(take_step(copied, batch, optimizer, f"step {step} of a range test"))
            if not isfinite(loss) or (len(losses) > 10 and loss > 10 * abs(losses[0]) + 1e-12):
                break
            rates.append(rate)
            losses.append(loss)
    return rates, losses


def least(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss is least; None where it never falls by a twentieth.

    Nor by as much as minibatches differ before any step counts: then the least is luck.
    """
    smoothed: list[float] = []
    average = 0.0
    for step, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**step))
    if len(smoothed) < 5:
        return None
    # An average of fewer is the luck of their samples.
    at = min(range(4, len(smoothed)), key=lambda i: smoothed[i])
    begin = smoothed[4]
    # The first rates change nothing yet.
    luck = stdev(losses[:UNCHANGED])
    return rates[at] if smoothed[at] < begin - max(0.05 * abs(begin), luck) else None


def rise(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the loss begins to rise for good; None where it never does."""
    if len(losses) < 5:
        return None
    begin = sum(losses[:5]) / 5
    quiet = [at for at, loss in enumerate(losses) if loss <= begin + RISEN * abs(begin)]
    last = max(quiet, default=0)
    has_risen = last + 1 < len(losses) or len(losses) < NUM_STEPS
    return rates[last] if has_risen else None


def _with_rate(original: OptimizerFactory, rate: float) -> OptimizerFactory:
    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = original(params)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return optimizer

    return made
