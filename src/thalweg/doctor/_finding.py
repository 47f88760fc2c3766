"""Finding: something that is wrong with the training, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Ailment(Enum):
    """What can be found."""

    VANISHING = "vanishing gradient"
    EXPLODING = "exploding gradient"
    SATURATED = "saturated units"
    DEAD = "dead units"
    LR_TOO_LARGE = "learning rate too large"
    LR_TOO_SMALL = "learning rate too small"
    STUCK = "stuck"
    NOT_FINITE = "not finite"


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Args:
        ailment: its kind.
        sentence: what it is, in words, with the numbers that matter.
        layers: the layers concerned, by module name, from input to output.
        evidence: the measured numbers, by what they are.
        rule: when this counts as a finding.
        margin: how far past the rule, as a ratio (1 is just past it).
    """

    ailment: Ailment
    sentence: str
    layers: tuple[str, ...]
    evidence: Mapping[str, float]
    rule: str
    margin: float
