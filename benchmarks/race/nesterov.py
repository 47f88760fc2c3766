"""Nesterov's method under the schedule of Sutskever et al. 2013, which made CURVES famous."""

from __future__ import annotations

from math import floor, log2

import torch

from thalweg.race import Contender, Course
from thalweg.race._trial import Setting

PERIOD = 250
"""Steps after which the momentum moves on."""


class ScheduledNesterov(Contender):
    """μ_t = min(1 − 2^(−1 − log₂(⌊t/250⌋ + 1)), μ_max), with a learning rate that is held.

    In Bengio's form, in which torch writes Nesterov's method: the parameters are those looked
    ahead at.

    Source: Sutskever et al. 2013, "On the importance of initialization and momentum in deep
    learning", eq. 5. Their last 1,000 updates at μ = 0.9 are left out: a race has no known end.

    Args:
        highest: μ_max.
    """

    def __init__(self, highest: float) -> None:
        rates = (1e-3, 3e-4, 3e-3, 1e-4, 1e-2)
        settings = tuple({"lr": lr, "batch_size": 200} for lr in rates)
        super().__init__(f"Nesterov, μ up to {highest:g}", settings)
        self.highest = highest

    def run(self, course: Course, setting: Setting) -> None:
        """Gradient, step, gradient, step.

        Args:
            course: the loss and the data.
            setting: the learning rate.
        """
        optimizer = torch.optim.SGD(
            course.params, lr=float(setting["lr"]), momentum=0.5, nesterov=True
        )
        (group,) = optimizer.param_groups
        for number in course.steps():
            group["momentum"] = momentum(number, self.highest)
            course.gradient()
            optimizer.step()


def momentum(step: int, highest: float) -> float:
    """μ_t."""
    return min(1 - 2 ** (-1 - log2(floor(step / PERIOD) + 1)), highest)
