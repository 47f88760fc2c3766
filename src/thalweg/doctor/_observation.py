"""observe: what is read of a training before any curvature: data, head, levels, a watched run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from math import inf
from statistics import fmean

import torch
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading, shadow_of
from thalweg._recipe import steps_in_epoch
from thalweg._score import Score, score
from thalweg._training import num_threads
from thalweg.doctor._head import Head, head_of
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._levels import MOST, Levels, levels_of
from thalweg.doctor._probe import Probe
from thalweg.doctor._sample import Sample
from thalweg.doctor._trial import Plan
from thalweg.doctor._watch import Watched, tail, watch

AFFORDED = 0.35
"""Of a budget in gradients, for the same: the rest is needed to prove a remedy."""

WATCHED_SHARE = 0.6
"""Of the epochs that they mean to train for; a plateau may end by itself."""

SURELY = 0.25
"""Of the steps that may be watched, at least, also where it learns from the first on."""

FIRST_LOOK = 10
"""Steps in which a fault of the step itself shows."""

PROBED_STEPS = 60
"""A probe takes an epoch, or so many steps."""

SETTLING = 20
"""Minibatches that the loss in evaluation mode is read on at the end."""


@dataclass(frozen=True)
class Observation:
    """What was seen before any curvature.

    Args:
        sample: the data as tables.
        head: how output and loss meet.
        levels: the losses that mean that nothing, or half of what can be, was learned.
        watched: a training by the whole recipe.
        settled: mean minibatch loss of the watched network at the end, in evaluation mode.
        held_out: its held-out score, None where it could not be taken.
        probe: the same with other learning rates.
        is_certain: whether the watch was short, since what it showed needs no training to the end.
    """

    sample: Sample
    head: Head
    levels: Levels
    watched: Watched
    settled: float
    held_out: Score | None
    probe: Probe
    is_certain: bool = False


def observe(
    problem: Problem,
    training: Problem,
    plan: Plan,
    seed: int,
    ledger: Ledger,
    is_certain: Callable[[Observation], bool] = lambda observation: False,
) -> Observation:
    """Reads the data and the head, and watches one training; stops once it is clear that it learns.

    A few steps come first: where `is_certain` of them, as of a missing zero_grad, they are all.

    Cost: at most 60 % of their epochs, or a trial where they name none; a healthy one far less.
    """
    size = plan.batch_size
    fraction = min(1.0, size / problem.num_samples)
    with ledger.measuring("data, and how output and loss meet", 0.0) as gradients:
        sample = Sample.of(problem)
        head = head_of(training, size)
        levels = levels_of(training, sample, head, size)
        gradients.append(0.3 + fraction)
    with ledger.measuring("one training, watched", 0.02) as gradients:
        per_epoch = steps_in_epoch(training, size)
        most = plan.num_steps
        if problem.epochs is not None:
            most = max(1, round(WATCHED_SHARE * problem.epochs * per_epoch))
            if not ledger.budget.is_seconds:
                most = min(most, max(FIRST_LOOK, round(AFFORDED * ledger.budget.amount / fraction)))
        threads = num_threads(problem, size)

        def is_enough(losses: Sequence[float]) -> bool:
            # One epoch may be lucky; a second confirms it.
            recent = losses[-max(per_epoch, 20) :]
            is_long = len(losses) >= max(2 * per_epoch, SURELY * most)
            return is_long and tail(recent) <= levels.at(MOST, losses[0])

        def watched_for(steps: int) -> Watched:
            found = watch(
                training,
                batch_size=size,
                max_steps=steps,
                seed=seed,
                num_threads=threads,
                is_enough=is_enough,
            )
            gradients.append(fraction * found.num_steps)
            return found

        probe = Probe(training, size, max(per_epoch, PROBED_STEPS), seed, threads)
        watched = watched_for(min(FIRST_LOOK, most))
        first = Observation(sample, head, levels, watched, inf, None, probe, True)
        if is_certain(first):
            return first
        if not watched.failure:
            watched = watched_for(most)
        settled = _settled(watched, size)
    return Observation(sample, head, levels, watched, settled, _held_out(watched, plan), probe)


def _settled(watched: Watched, batch_size: int) -> float:
    """Mean minibatch loss in evaluation mode; inf where there is none."""
    if watched.failure:
        return inf
    problem = watched.problem
    modes = [(module, module.training) for module in problem.model.modules()]
    problem.model.eval()
    try:
        with reading(), torch.no_grad():
            stream = problem.minibatches(batch_size, torch.Generator().manual_seed(0))
            losses = [
                float(problem.evaluate(problem.model, b).loss) for b in islice(stream, SETTLING)
            ]
        mean = fmean(losses)
        return mean if mean == mean else inf
    except ThalwegError:
        return inf
    finally:
        for module, mode in modes:
            module.training = mode


def _held_out(watched: Watched, plan: Plan) -> Score | None:
    if watched.failure:
        return None
    try:
        with reading():
            return score(watched.problem, plan.held_out, plan.reduction)
    except (ThalwegError, RuntimeError):
        return None


def readable_form(problem: Problem) -> tuple[Problem | None, ThalwegError | None]:
    """The problem with everything held that is random in its mode, or why it cannot be read.

    Batch normalisation that has seen no data yet is read with the statistics of the data, as in
    training; dropout as in evaluation.
    """
    held = shadow_of(problem.model)
    for name, module in held.named_modules():
        if not isinstance(module, _BatchNorm):
            module.training = False
        elif problem.mode and not problem.is_on_purpose(name):
            seen = module.num_batches_tracked
            module.training |= seen is not None and int(seen) == 0
    try:
        form = problem.with_model(held).with_frozen_statistics()
        form.check()
        _forward_all(form)
        return form, None
    except ThalwegError as error:
        refusal = error
    try:
        form = problem.in_eval_mode()
        form.check()
        _forward_all(form)
        return form, None
    except ThalwegError:
        return None, refusal


def _forward_all(problem: Problem) -> None:
    with reading(), torch.no_grad():
        for index, batch in enumerate(problem.batches):
            problem.forward(problem.parameters, batch, f"batch {index}")
