"""Probe: the same training with another learning rate, to see whether that is what ails it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import inf

import torch
from torch import nn

from thalweg._problem import OptimizerFactory, Problem
from thalweg.doctor._watch import Watched, tail, watch


@dataclass
class Probe:
    """Short trainings with the learning rate times a factor, each run once and kept.

    Args:
        problem: what is trained.
        batch_size: samples a step.
        num_steps: of each.
        seed: the watched training's, so that data order is the same.
        num_threads: of the training.
    """

    problem: Problem
    batch_size: int
    num_steps: int
    seed: int
    num_threads: int
    runs: dict[tuple[float, int], Watched] = field(default_factory=dict)

    def at(self, factor: float, larger: int = 1) -> float:
        """The loss that it ends with, inf where it breaks off; on larger minibatches if asked."""
        if (factor, larger) not in self.runs:
            optimizer = self.problem.optimizer
            assert optimizer is not None, "what is examined has an optimizer"
            self.runs[factor, larger] = watch(
                replace(self.problem, optimizer=multiplied(optimizer, factor)),
                batch_size=larger * self.batch_size,
                max_steps=self.num_steps,
                seed=self.seed,
                num_threads=self.num_threads,
            )
        return self.runs[factor, larger].end

    def of(self, watched: Watched) -> float:
        """The loss of the watched training after as many steps."""
        losses = watched.losses[: self.num_steps]
        is_broken = watched.failure and len(losses) < self.num_steps
        return inf if is_broken or not losses else tail(losses)

    @property
    def cost(self) -> int:
        """Steps taken, in minibatches of the training's own size."""
        return sum(larger * run.num_steps for (_, larger), run in self.runs.items())


def multiplied(original: OptimizerFactory, factor: float) -> OptimizerFactory:
    """The same optimizer with every learning rate times a factor."""

    def made(params: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        optimizer = original(params)
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor
        return optimizer

    return made
