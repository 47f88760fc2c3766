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
        shuffled_loss: the loss against the targets in random order, None where there are none.
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
    shuffled_loss: float | None

    @property
    def end(self) -> float:
        """The training loss that the control runs end with: the median, inf where most broke."""
        return median(run.last_loss for run in self.control)

    @property
    def blind_loss(self) -> float | None:
        """The loss of answers that know nothing of the input: constant, or else shuffled ones."""
        return self.shuffled_loss if self.constant_loss is None else self.constant_loss

    @property
    def trains(self) -> bool:
        """Whether the network, as it is, learns: symptoms are findings only where it does not.

        Measured against blind answers, so that a network that was trained before counts too;
        against the loss it begins with where no blind answer is known.
        """
        begin = self.passed.value if self.blind_loss is None else self.blind_loss
        return self.end <= HALF * begin


HALF = 0.5
"""A network trains if its control runs end below this share of a blind answer's loss."""

UNTRAINED = (
    "the network as it is does not get below half the loss of an answer that ignores the input "
    "(half of where it began, where that is not known)"
)
"""The opposite of `Readings.trains`, in words."""
