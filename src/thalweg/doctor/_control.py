"""Control: the training as it is, seed by seed, in runs that may become more, and longer."""

from __future__ import annotations

from dataclasses import replace
from math import inf

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._score import Score
from thalweg.doctor._marks import Marks
from thalweg.doctor._trial import Plan, Run, Trial

NO_SCORE = Score(inf, None)


class Control:
    """Runs of the training as it is.

    Args:
        training: what is trained, on copies.
        plan: what all trials have in common.
        seed: of the first run; the others count on from it.
        may_raise: whether a step or the scoring may raise: such a run broke off before it began.
        begun: of the training that was watched with that seed: the first run goes on from it.

    Attributes:
        runs: so far.
        trials: of these runs; None for one that broke off before it began.

    Raises:
        ThalwegError: in every method, if a step raises and may not.
    """

    def __init__(
        self,
        training: Problem,
        plan: Plan,
        seed: int,
        may_raise: bool,
        begun: Marks | None = None,
    ) -> None:
        self.training, self.plan, self.seed = training, plan, seed
        self.may_raise, self.begun = may_raise, begun
        self.runs: list[Run] = []
        self.trials: list[Trial | None] = []

    @property
    def cost(self) -> float:
        """Gradients of a sample, of all runs."""
        return sum(run.cost for run in self.runs)

    def another(self) -> Run:
        """One more run, with the next seed."""
        seed = self.seed + len(self.runs)
        before = self.runs[0].before if self.runs else None
        try:
            begun = None if self.runs else self.begun
            trial: Trial | None = Trial(self.training.copied(), self.plan, seed, before, begun)
            assert trial is not None
            run = trial.until(self.plan.num_steps)
        except ThalwegError as error:
            if not self.may_raise:
                raise
            trial, run = None, Run(seed, (), (), NO_SCORE, NO_SCORE, str(error), 0.0)
        self.runs.append(run)
        self.trials.append(trial)
        return run

    def lengthen(self, num_steps: int) -> None:
        """All runs gone on with, to so many steps in all."""
        self.plan = replace(self.plan, num_steps=num_steps)
        for at, trial in enumerate(self.trials):
            if trial is not None:
                self.runs[at] = trial.until(num_steps)
