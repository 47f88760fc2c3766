"""Heat: the runs of a contest of remedies, what they cost, and how many more fit."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch

from thalweg._problem import Problem
from thalweg._training import described
from thalweg.doctor._constant import best_constant
from thalweg.doctor._control import Control
from thalweg.doctor._examination import TriedRemedy
from thalweg.doctor._ledger import Ledger
from thalweg.doctor._readings import Readings
from thalweg.doctor._trial import Plan, Run, Trial
from thalweg.doctor.remedies import Remedy

NUM_FINALISTS = 3
"""Remedies that get full runs after the screening."""

SCREENING = 4
"""A screening run is this many times shorter than a full one."""

LOOKS = ((2, 0.2), (4, 0.8))
"""Pairs after which a proof is looked at, and its share of the risk: together they keep the level,
whatever the looks have to do with one another (Bonferroni). A huge effect is seen in two pairs; a
large one that differs from seed to seed takes four, of which Student's t asks far less."""

UP = "not proved: the time was up before its full runs"
"""What becomes of a remedy that the budget does not reach."""


@dataclass(frozen=True)
class Reached:
    """Mean held-out losses, in units that control and remedied share: a blind answer's is as read.

    Args:
        before: with a remedy, before the first step.
        after: with it, at the end.
        control: without it, at the end.
    """

    before: float
    after: float
    control: float


class Heat:
    """The runs of a contest, and where they stand."""

    def __init__(
        self,
        training: Problem,
        readings: Readings,
        ledger: Ledger,
        shares: tuple[float, float],
        num_remedies: int,
        num_finalists: int,
        more: Control | None,
    ) -> None:
        self.training, self.readings, self.ledger, self.shares = training, readings, ledger, shares
        self.plan, self.control, self.more = readings.plan, list(readings.control), more
        # Chosen by a seed that the proof does not use, or the luck of the draw would be proved too.
        self.unseen = self.control[0].seed + max(len(self.control), LOOKS[-1][0])
        self.done = 0.0
        self.settled: list[TriedRemedy] = []
        # In whose place a more thorough one went on.
        self.passed_over: list[TriedRemedy] = []
        self.levels: dict[str, Reached] = {}
        self.num_finalists = num_finalists
        finals = len(self.control) * min(num_finalists, num_remedies)
        self.total = num_remedies / SCREENING + finals

    @cached_property
    def blind(self) -> float | None:
        """The loss of the best constant answer to the held-out data; None where it is not known.

        A minibatch's is another one where what samples add to the loss is summed up.
        """
        held_out = self.training.test_batches or self.plan.held_out
        found = best_constant(self.training, held_out, self.plan.reduction)
        return self.readings.blind_loss if found is None else found

    @property
    def has_time(self) -> bool:
        """Whether the runs of one more finalist fit."""
        seconds = sum(each.seconds for each in self.control)
        return self.ledger.seconds_left >= seconds and self.affords(len(self.control))

    @property
    def num_affordable(self) -> int:
        """Remedies that can each be given as many runs as the control has."""
        price = len(self.control) * self.plan.price(self.training)
        return int(self.ledger.gradients_left * self.readings.problem.num_samples / price)

    def looks(self) -> tuple[tuple[int, float], ...]:
        """Pairs that a finalist is looked at after, and shares of the risk, as the budget allows.

        What is left of the budget is known beforehand: the last look has all the risk that is left.
        """
        if self.more is None:
            return ((len(self.control), 1.0),)
        (first, _), _ = LOOKS
        return LOOKS if self.affords(first + 1) else ((first, 1.0),)

    def affords(self, number: int, done: int = 0) -> bool:
        """Whether so many pairs of a finalist fit, of which some are done already.

        With what control runs they need beyond those that there are.
        """
        further = max(0, number - len(self.control))
        price = (number - done) * self.plan.price(self.training)
        price += further * self.control[-1].cost
        return self.ledger.gradients_left >= price / self.readings.problem.num_samples

    def affords_another(self) -> bool:
        """Whether one more pair fits, neither of which breaks off."""
        price = 2 * self.plan.price(self.training)
        return self.ledger.gradients_left >= price / self.readings.problem.num_samples

    def can_screen(self, length: Plan) -> bool:
        """Whether a short run fits beside the proof of one remedy."""
        share = LOOKS[-1][0] + length.num_steps / self.plan.num_steps
        price = share * self.plan.price(self.training) / self.readings.problem.num_samples
        return self.ledger.gradients_left >= price

    def run(self, what: str, remedy: Remedy, length: Plan, seed: int) -> tuple[Run, Trial]:
        """One training with a remedy, and the trial, to be gone on with."""
        first, last = self.shares
        share = first + (last - first) * min(self.done / self.total, 1.0)
        self.ledger.progress(f"{what} {remedy.name}", share)
        self.done += length.num_steps / self.plan.num_steps
        generator = torch.Generator().manual_seed(seed)
        problem = remedy.apply(self.training.copied(), generator)
        if problem.batch_size != self.training.batch_size:
            length = length.in_batches_of(problem.batch_size)
        begun = remedy.begun if seed == self.control[0].seed else None
        trial = Trial(problem, length, seed, begun=begun)
        run = trial.until(length.num_steps)
        self.spend(run.cost)
        return run, trial

    def spend(self, cost: float) -> None:
        """Counts gradients of a sample."""
        self.ledger.spend(cost / self.readings.problem.num_samples)


def untried(remedy: Remedy, screening: Run | None, outcome: str) -> TriedRemedy:
    """What becomes of a remedy without full runs."""
    return TriedRemedy(remedy.name, remedy.code, screening, (), None, outcome, remedy.apply)


def failed(remedy: Remedy, screening: Run | None, error: Exception) -> TriedRemedy:
    """A remedy rebuilds somebody's network by rule; where that does not fit, it says so."""
    outcome = f"could not be run on this network: {described(error)}"
    return untried(remedy, screening, outcome)
