"""What a monitor keeps: records of readings, alerts, and its own cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Record:
    """What was read at one step.

    Args:
        step: the optimizer step, from 1.
        values: numbers by name, `quantity` or `quantity/layer`; what could not be read is left
            out, and NaN means that it is NaN.
        instruments: names of those that were read.
        seconds: what the reading took.
        num_gradients: what it took in gradients of a batch, by count.
    """

    step: int
    values: Mapping[str, float]
    instruments: tuple[str, ...]
    seconds: float
    num_gradients: float


@dataclass(frozen=True)
class Alert:
    """Something that is wrong with the training, told once when it begins.

    Args:
        step: at which it was seen.
        ailment: its kind, in a word or two.
        sentence: what it is, with the numbers that matter.
        evidence: the numbers, by what they are.
        rule: when this is told.
        layers: the layers concerned, where there are some.
    """

    step: int
    ailment: str
    sentence: str
    evidence: Mapping[str, float]
    rule: str
    layers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"step {self.step}: {self.sentence}"


@dataclass(frozen=True)
class Cost:
    """What a monitor has cost, and what the training took beside it.

    Args:
        seconds: of the monitor itself, its hooks and hand-overs included.
        training_seconds: of everything else between the first step and the last.
        num_gradients: of the monitor, in gradients of a batch, by count.
        num_steps: of the training.
        num_readings: of the monitor.
    """

    seconds: float
    training_seconds: float
    num_gradients: float
    num_steps: int
    num_readings: int

    @property
    def share(self) -> float:
        """The monitor's seconds as a share of the training's."""
        return self.seconds / self.training_seconds if self.training_seconds > 0 else 0.0

    @property
    def percent(self) -> str:
        """The same in words."""
        return f"{100 * self.share:,.0f} %" if self.share >= 1 else f"{100 * self.share:.2g} %"

    @property
    def gradient_share(self) -> float:
        """The monitor's gradients a step of the training."""
        return self.num_gradients / self.num_steps if self.num_steps else 0.0

    def __str__(self) -> str:
        return (
            f"{self.num_readings} readings in {self.num_steps} steps: {self.seconds:.3g} s and "
            f"{self.num_gradients:.3g} gradients, {self.percent} of the training's time"
        )
