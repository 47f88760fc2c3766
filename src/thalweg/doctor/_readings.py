"""Everything the rules of the doctor may look at."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import torch

from thalweg._problem import Problem
from thalweg.curvature import CriticalPoint
from thalweg.doctor._trial import Plan, Run
from thalweg.passes import Pass
from thalweg.signal import Signal


@dataclass(frozen=True)
class Readings:
    """What was measured on a network before any remedy.

    Args:
        problem: as handed over, with the optimizer that is in use or assumed.
        passed: the pass at the point handed over.
        signal: how scale and gradient run with depth there.
        signal_after: the same after the control run of the first seed, None where it broke down.
        card: what kind of place the point is, None where curvature could not be read.
        optimizer: the optimizer in use or assumed, on a copy, to read its settings.
        control: runs of the network as it is.
        plan: what all trials have in common.
        constant_loss: the loss of the best answer that ignores the input, None where not known.
    """

    problem: Problem
    passed: Pass
    signal: Signal
    signal_after: Signal | None
    card: CriticalPoint | None
    optimizer: torch.optim.Optimizer
    control: tuple[Run, ...]
    plan: Plan
    constant_loss: float | None

    @property
    def fit(self) -> float:
        """The training loss that the control runs end with, as a share of what they began with.

        The median over seeds; inf where most broke down. What they began with is the loss at the
        point, or the loss of a constant answer where that is lower.
        """
        begin = self.passed.value
        if self.constant_loss is not None:
            begin = min(begin, self.constant_loss)
        end = median(run.last_loss for run in self.control)
        return end / begin if begin > 0 else (0.0 if end <= begin else 1.0)

    @property
    def trains(self) -> bool:
        """Whether the network, as it is, learns: symptoms are findings only where it does not."""
        return self.fit < HALF


HALF = 0.5
"""A network trains if its control runs at least halve the loss."""
