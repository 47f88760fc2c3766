"""Probe: the same training with another learning rate, to see whether that is what ails it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf

import torch
from torch import nn

from thalweg._problem import OptimizerFactory, Problem
from thalweg.doctor._watch import Watched, attained, settled, settling, tail, watch

LARGER_STEPS = 40
"""Steps of a probe on larger minibatches, at most."""


@dataclass
class Probe:
    """Short trainings with the learning rate times a factor, each run once and kept.

    Args:
        problem: what is trained.
        batch_size: samples a step.
        num_steps: of each.
        seed: the watched training's, so that data order is the same.
        num_threads: of the training.
        most: steps of the training's own minibatches that may be taken in all.
        is_settled: whether the loss is that in evaluation mode where it is lower, which after few
            steps says more than their own minibatches.
    """

    problem: Problem
    batch_size: int
    num_steps: int
    seed: int
    num_threads: int
    most: float = inf
    is_settled: bool = False
    runs: dict[tuple[float, int, int], Watched] = field(default_factory=dict)
    _ends: dict[int, float] = field(default_factory=dict)

    def at(self, factor: float, larger: int = 1) -> float | None:
        """The loss that it ends with, inf where it breaks off; on larger minibatches if asked.

        None where that would cost more than may be spent.
        """
        key = (factor, larger, self.num_steps)
        if key not in self.runs:
            # Larger minibatches are dear: fewer steps of them tell as much.
            num_steps = self.num_steps if larger == 1 else min(self.num_steps, LARGER_STEPS)
            if self.cost + larger * num_steps > self.most:
                return None
            optimizer = self.problem.optimizer
            assert optimizer is not None, "what is examined has an optimizer"
            self.runs[key] = watch(
                replace(self.problem, optimizer=multiplied(optimizer, factor)),
                batch_size=larger * self.batch_size,
                max_steps=num_steps,
                seed=self.seed,
                num_threads=self.num_threads,
            )
        return self._end(self.runs[key], larger * self.batch_size)

    def of(self, watched: Watched) -> float:
        """The loss of the watched training after as many steps."""
        losses = watched.losses[: self.num_steps]
        is_broken = watched.failure and len(losses) < self.num_steps
        if is_broken or not losses:
            return inf
        is_now = len(watched.losses) == self.num_steps
        return self._end(watched, self.batch_size) if is_now else tail(losses)

    def _end(self, watched: Watched, batch_size: int) -> float:
        if not self.is_settled or watched.failure:
            return watched.end
        key = id(watched)
        if key not in self._ends:
            self._ends[key] = settled(watched, batch_size)
        return attained(watched, self._ends[key])

    @property
    def cost(self) -> float:
        """Gradients taken, in minibatches of the training's own size."""
        steps = sum(larger * run.num_steps for (_, larger, _), run in self.runs.items())
        return steps + len(self._ends) * settling(self.batch_size) / 3


def multiplied(original: OptimizerFactory, factor: float) -> OptimizerFactory:
    """The same optimizer with every learning rate times a factor."""

    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = original(params)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor
        return optimizer

    return made
