"""The case: what is examined, completed and planned before anything is run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite

import torch

from thalweg._batch import concatenate, num_samples
from thalweg._budget import Budget
from thalweg._errors import ProblemError
from thalweg._problem import OptimizerFactory, Problem
from thalweg._reduction import Reduction
from thalweg._training import has_batch_norm, leaves_one, split
from thalweg.doctor._changed_data import is_finite, with_rows
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._planning import plan_trials
from thalweg.doctor._trial import Plan

SHORTEST = 200
"""Steps that are watched of a problem that cannot be read."""


@dataclass(frozen=True)
class Case:
    """What every step of an examination is told.

    Args:
        problem: as handed over, with the optimizer and batch size in use or assumed.
        readable: with everything held that is random in its mode; None where it cannot be read.
        training: what is trained, on copies; its held-out data are apart.
        optimizer: in use or assumed, on a copy, to read its settings.
        seed: everything random is drawn from it.
        ledger: what may be spent, and what was.
    """

    problem: Problem
    readable: Problem | None
    training: Problem
    optimizer: torch.optim.Optimizer
    seed: int
    ledger: Ledger

    @property
    def fraction(self) -> float:
        """Gradients over all data that a step costs: its minibatch, as a share of the data."""
        assert self.problem.batch_size is not None, "assumed where it was not named"
        return min(1.0, self.problem.batch_size / self.problem.num_samples)


def completed(
    problem: Problem,
    optimizer: OptimizerFactory | None,
    batch_size: int | None,
    ledger: Ledger,
) -> tuple[Problem, int]:
    """The problem with an optimizer and a batch size; what had to be assumed is noted."""
    if optimizer is not None:
        problem = replace(problem, optimizer=optimizer)
    elif problem.optimizer is None:
        problem = replace(problem, optimizer=lambda params: torch.optim.Adam(params, lr=1e-3))
        ledger.assume(
            "No optimizer was named, so Adam at learning rate 0.001 was assumed; pass "
            "Problem(..., optimizer=lambda params: ...) to have yours examined."
        )
    if problem.test is None:
        ledger.assume(
            "No held-out data were given, so a fifth of the data was held out for the trials."
        )
    if batch_size is not None:
        problem = replace(problem, batch_size=batch_size)
    batch_size = problem.batch_size
    if batch_size is not None and len(problem.batches) > 1:
        problem = _additive(problem)
    if batch_size is None:
        largest = max(num_samples(batch) for batch in problem.batches)
        batch_size = largest if len(problem.batches) > 1 else min(largest, 64)
        problem = replace(problem, data=problem.batches, batch_size=batch_size)
        ledger.assume(f"No batch size was named, so minibatches of {batch_size} were assumed.")
    if leaves_one(problem.num_samples, batch_size) and has_batch_norm(problem.model):
        ledger.assume(
            f"Minibatches of {batch_size} leave one of the {problem.num_samples:,} samples over, "
            f"of which batch normalisation can take no statistics: it was left out of every epoch, "
            f"as DataLoader(drop_last=True) does."
        )
    return problem, batch_size


def _additive(problem: Problem) -> Problem:
    """With all data in one batch where it is not known how losses of batches add up.

    That may be what ails the training. Ragged batches stay as they are, and are refused later.
    """
    try:
        if problem.reduction is not None:
            return problem
    except ProblemError:
        pass
    try:
        test = [concatenate(problem.test_batches)] if problem.test_batches else problem.test
        return replace(problem.with_data([concatenate(problem.batches)]), test=test)
    except ValueError:
        return problem


def refuse_rates(optimizer: torch.optim.Optimizer) -> None:
    """Refuses learning rates that are no finite numbers: no step can be taken with them.

    Raises:
        ProblemError: if one is not.
    """
    for group in optimizer.param_groups:
        rate = float(group.get("lr", 0.0))
        if not isfinite(rate):
            raise ProblemError(
                f"the optimizer's learning rate is {rate}; give a finite one: "
                f"optimizer=lambda params: torch.optim.SGD(params, lr=0.1)"
            )


def planned(
    problem: Problem, readable: Problem | None, batch_size: int, budget: Budget, seed: int
) -> tuple[Plan, Problem]:
    """What all trials have in common, and what they train.

    Planned before anything is run, so that a budget that is too small is refused at once.
    """
    if readable is not None:
        plan, training = plan_trials(readable, batch_size, budget, seed)
        training = replace(training, model=problem.model)
        if readable.num_samples < problem.num_samples:
            # What cannot be read is trained on all the same, by their own step.
            unread = with_rows(problem, lambda batch: ~is_finite(batch)).batches
            training = training.with_data([*training.batches, *unread])
    else:
        plan, training = _unplanned(problem, batch_size, seed)
    # A remedy that changes the data changes those that it is judged on with them.
    return plan, replace(training, test=list(plan.held_out))


def _unplanned(problem: Problem, batch_size: int, seed: int) -> tuple[Plan, Problem]:
    """What to watch of a problem that cannot be read, and how its remedies are tried."""
    training, held_out = split(problem, torch.Generator().manual_seed(seed))
    reduction = Reduction(lambda batch, _: float(num_samples(batch)), False, "samples")
    return Plan(SHORTEST, batch_size, held_out, reduction, 1), training
