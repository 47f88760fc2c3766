"""The learning rate that a sweep over all sizes points to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from math import inf, isfinite, log

import torch
from torch import nn

from thalweg._errors import ThalwegError
from thalweg._problem import OptimizerFactory, Problem
from thalweg._reading import reading
from thalweg._recipe import set_mode, take_step
from thalweg._training import parameters_of, threads, without_leftover
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "the learning rate of a range test"

LOWEST, HIGHEST = 1e-5, 10.0
"""Learning rates that are swept over."""

NUM_STEPS = 80
"""Of the sweep: 13 a decade."""

SMOOTHING = 0.85
"""Of the losses, by exponential averages."""

APART, MOST_RUNS = 10**0.5, 4
"""Rates that are compared differ by this factor, and so many trainings are paid for it."""

NEARLY = 0.9
"""Of what the best lowers the loss by, is as good."""

SHARE = 0.25
"""Of the steps of their training, for these at most."""

BELOW = 0.1
"""Of the rate at which the loss is least: there the next step already rises."""


def lr_of_range_test(readings: Readings) -> Remedy | NotApplicable:
    """Raises the learning rate at every step from 1e-5 to 10, and takes a tenth of the best.

    The best is where the smoothed loss is least before it rises again. A sweep is over so soon that
    momentum and normalisation lag behind it: short trainings at that rate and at those next to it
    correct it. Settings other than the rate stay what they are.

    Cost: 80 steps of training, and at most four short trainings, see `refined`.

    Source: L. Smith 2017, "Cyclical learning rates for training neural networks", section 3.3, the
    range test; a tenth of the minimum is the habit of practitioners (fastai's), not his.
    """
    problem = readings.problem
    factory = problem.optimizer
    assert factory is not None, "trials have an optimizer"
    before = float(readings.optimizer.param_groups[0]["lr"])
    if len(readings.optimizer.param_groups) > 1:
        return NotApplicable(NAME, "the optimizer has several groups of parameters")
    try:
        rates, losses = swept(problem, readings.plan.batch_size)
    except ThalwegError as error:
        return NotApplicable(NAME, str(error))
    best = least(rates, losses)
    if best is None:
        return NotApplicable(NAME, "no learning rate from 1e-5 to 10 lowers the loss")
    spent = len(losses) * readings.plan.batch_size
    after = BELOW * best
    if readings.observed is not None and before > 0:
        begun = readings.probe.cost
        most = inf if readings.problem.epochs is None else begun + SHARE * readings.total_steps
        probe = replace(readings.probe, most=most)
        after = refined(after, lambda rate: probe.at(rate / before), readings.start)
        spent += round((probe.cost - begun) * readings.plan.batch_size)
    after = float(f"{after:.2g}")
    if before > 0 and abs(log(after / before)) < log(1.5):
        return NotApplicable(NAME, "it is about the one in use")
    return Remedy(
        f"learning rate {after:g}, of a range test",
        f"for group in optimizer.param_groups:  # {before:g} -> {after:g}\n"
        f'    group["lr"] = {after:g}',
        lambda problem, _: replace(problem, optimizer=_with_rate(factory, after)),
        changes_step=True,
        is_direct=True,
        num_samples=spent,
    )


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
    if known[at] == inf:
        return rate
    enough = start - NEARLY * (start - known[at])
    at = min((place for place, loss in known.items() if loss <= enough), default=at)
    return rate * APART**at


def swept(problem: Problem, batch_size: int) -> tuple[list[float], list[float]]:
    """Learning rates, and the losses of the minibatches before the steps with them."""
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
            rate = LOWEST * (HIGHEST / LOWEST) ** (step / (NUM_STEPS - 1))
            for group in optimizer.param_groups:
                group["lr"] = rate
            loss = float(take_step(copied, batch, optimizer, f"step {step} of a range test"))
            if not isfinite(loss) or (len(losses) > 10 and loss > 10 * abs(losses[0]) + 1e-12):
                break
            rates.append(rate)
            losses.append(loss)
    return rates, losses


def least(rates: Sequence[float], losses: Sequence[float]) -> float | None:
    """The rate at which the smoothed loss is least; None where it never falls by a twentieth."""
    smoothed: list[float] = []
    average = 0.0
    for step, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**step))
    if len(smoothed) < 5:
        return None
    at = min(range(len(smoothed)), key=lambda i: smoothed[i])
    begin = smoothed[4]
    return rates[at] if smoothed[at] < begin - 0.05 * abs(begin) else None


def _with_rate(original: OptimizerFactory, rate: float) -> OptimizerFactory:
    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = original(params)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return optimizer

    return made
