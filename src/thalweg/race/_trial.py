"""Trial: one run of a contender with one setting on one seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite

from thalweg.optim import StepRecord

Setting = Mapping[str, float | int | str | bool]
"""What an optimizer is made with, by name."""


@dataclass(frozen=True)
class Mark:
    """Where a run stood at one moment. What is measured here is no part of the run's cost.

    Args:
        step: steps taken.
        seconds: wall time so far.
        processor_seconds: time of the processor so far, all threads together.
        gradients: work so far by count, in gradients over all training data.
        loss: of the training data, or of the part of them that is measured [loss].
        held_out_loss: of the held-out data; None where there are none.
        accuracy: on the held-out data; None where the targets are no classes.
    """

    step: int
    seconds: float
    processor_seconds: float
    gradients: float
    loss: float
    held_out_loss: float | None
    accuracy: float | None

    def spent(self, is_seconds: bool) -> float:
        """The cost so far, in seconds or gradients."""
        return self.seconds if is_seconds else self.gradients


@dataclass(frozen=True)
class SharpnessMark:
    """λ_max at one moment of a run, and the curvature at which its steps turn unstable.

    Args:
        step: steps taken.
        seconds: wall time so far.
        gradients: work so far.
        sharpness: λ_max of the Hessian of the training loss [loss/param²]; for methods that divide
            by √v, of the preconditioned one.
        limit: the largest stable curvature, None where no limit is known for the method.
        rule: the method's step in words, "" where no limit is known.
    """

    step: int
    seconds: float
    gradients: float
    sharpness: float
    limit: float | None
    rule: str

    @property
    def ratio(self) -> float | None:
        """Sharpness over limit: above 1 the step overshoots along the sharpest direction."""
        return None if self.limit is None else self.sharpness / self.limit


@dataclass(frozen=True)
class Trial:
    """One run of a contender.

    Args:
        seed: decides the initialisation where it can, the order of the data, and what is drawn.
        setting: what the optimizer was made with.
        marks: the curve, from the beginning on.
        final: the last mark within the budget: the one that counts.
        failure: why the run broke off, "" where it did not.
        ending: what else there is to say of its end, "" where the budget was simply spent.
        records: of each step, where the optimizer keeps them and they were asked for.
        sharpness: along the way, where it was asked for.
    """

    seed: int
    setting: Setting
    marks: tuple[Mark, ...]
    final: Mark
    failure: str
    ending: str
    records: tuple[StepRecord, ...] = ()
    sharpness: tuple[SharpnessMark, ...] = ()

    @property
    def final_loss(self) -> float:
        """The training loss at the end of the budget; inf where the run broke off."""
        return inf if self.failure or not isfinite(self.final.loss) else self.final.loss

    @property
    def num_steps(self) -> int:
        """Steps taken."""
        return self.marks[-1].step

    def reached(self, target: float) -> Mark | None:
        """The first mark within the budget at which the training loss was at the target.

        Args:
            target: a training loss.
        """
        within = (mark for mark in self.marks if mark.gradients <= self.final.gradients)
        return next((mark for mark in within if mark.loss <= target), None)
