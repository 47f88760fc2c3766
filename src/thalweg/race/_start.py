"""Start: where the runs of a seed begin, and what they are judged on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from thalweg._batch import Batch
from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg._reading import keeping_random_states
from thalweg._sampling import drawn
from thalweg._training import split
from thalweg.race._judge import Judge
from thalweg.surface import Surface

ProblemFactory = Callable[[int], Problem]
"""From a seed to the problem with the initialisation of that seed."""


@dataclass(frozen=True)
class Start:
    """Where the runs of one seed begin: every contender at the same parameters, on the same data.

    Args:
        problem: what is trained.
        judge: reads it.
    """

    problem: Problem
    judge: Judge


class Starts:
    """The starts of all seeds.

    A factory is called for each seed, under that seed, so that a network that is drawn at random is
    another one. A problem is the same network for every seed; then seeds differ in the order of the
    minibatches, or, where a step takes all data, in which tenth of them is left out.

    Args:
        given: a problem, or a factory.
        batch_size: of a step; None for all data.
        seed: of what is set apart for judging.
    """

    def __init__(self, given: Problem | ProblemFactory, batch_size: int | None, seed: int) -> None:
        self._given = given
        self._seed = seed
        self.first = self._made(seed)
        self.first.ranks.refuse("compare(problem)")
        # All of it can be read, in the mode in which it is judged; training is done in its own.
        _ = Surface(self.first.in_eval_mode()).here().value
        self.batch_size = self.first.batch_size if batch_size is None else batch_size
        self._is_whole = self.batch_size is None or self.batch_size >= self.first.num_samples
        self.is_redrawn = self._is_redrawn()

    @property
    def said(self) -> str:
        """What the seeds vary, in a sentence."""
        order = "" if self._is_whole else " and the order of the minibatches"
        if self.is_redrawn:
            return f"Seeds vary the initialisation{order}; all optimizers start at the same ones."
        if self._is_whole:
            return (
                "Every seed starts at the parameters handed over, and leaves out another tenth of "
                "the training data, since a step takes all of them; give a factory that draws the "
                "network at random to have the initialisation vary."
            )
        return (
            "Every seed starts at the parameters handed over; seeds vary the order of the "
            "minibatches. Give a factory that draws the network at random to have the "
            "initialisation vary."
        )

    def of(self, seed: int) -> Start:
        """The start of a seed."""
        problem, held_out = self._parted(self._made(seed))
        if self._is_whole and not self.is_redrawn and problem.num_samples > 1:
            left_out = max(1, problem.num_samples // 10)
            _, rest = drawn(problem.batches, left_out, torch.Generator().manual_seed(seed))
            problem = problem.with_data(rest or problem.batches)
        return Start(problem, Judge(problem, held_out, self._seed))

    def _parted(self, problem: Problem) -> tuple[Problem, tuple[Batch, ...]]:
        return split(problem, torch.Generator().manual_seed(self._seed))

    def _made(self, seed: int) -> Problem:
        if isinstance(self._given, Problem):
            return self._given
        with keeping_random_states():
            torch.manual_seed(seed)
            made = self._given(seed)
        if not isinstance(made, Problem):
            raise ProblemError(
                f"the factory returned a {type(made).__name__} for seed {seed}; it must return "
                f"thalweg.Problem(model, loss, data)"
            )
        return made

    def _is_redrawn(self) -> bool:
        """Whether another seed gives other parameters."""
        if isinstance(self._given, Problem):
            return False
        mine, other = self.first.parameters, self._made(self._seed + 1).parameters
        return any(not torch.equal(mine[name], other[name]) for name in mine)
