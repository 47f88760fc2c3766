"""Finding: something that is wrong with the training, with its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from thalweg.signal import TimeSignal


class Ailment(Enum):
    """What can be found."""

    DATA_NOT_FINITE = "NaN or infinity in the data"
    TARGET_SHAPE = "output and target of different shapes"
    TARGET_RANGE = "targets out of range"
    OUTPUT_LOSS = "output and loss do not match"
    REDUCTION = "wrong reduction of the loss"
    TARGET_SCALE = "scale of the targets"
    INPUT_SCALE = "scale of the inputs"
    OUTLIERS = "outliers in the data"
    CONSTANT_FEATURES = "constant features"
    NO_SIGNAL = "labels carry no signal"
    UNLIKE_HELD_OUT = "held-out data unlike the training data"
    CANNOT_LEARN = "parameters that cannot learn"
    ACCUMULATED = "gradients accumulate, zero_grad is missing"
    WRONG_MODE = "trained in the wrong mode"
    BATCH_OF_ONE = "batch normalisation with a batch of one"
    SYMMETRIC = "symmetric or zero initialisation"
    BOTTLENECK = "information lost in a bottleneck"
    DROPOUT = "too much dropout"
    WEIGHT_DECAY = "weight decay outweighs the gradient"
    CLIPPING = "gradient clipped too low"
    MOMENTUM = "momentum too high"
    EPSILON = "epsilon of the optimizer too large"
    NOISE = "gradient noise larger than signal, batch too small"
    VANISHING = "vanishing gradient"
    EXPLODING = "exploding gradient"
    SATURATED = "saturated units"
    DEAD = "dead units"
    LR_TOO_LARGE = "learning rate too large"
    LR_TOO_SMALL = "learning rate too small"
    ILL_CONDITIONED = "ill-conditioned"
    GRADIENT_FLAT = "gradient-flat"
    STUCK = "stuck on a plateau or at a saddle"
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
        found_after: steps of training that its evidence took; 0 where it shows before the first.
        suspected_after: steps after which it was named as a suspicion, None where it was found
            without one.
        needs_proof: whether the training shows no harm of it by itself: it counts only where a
            remedy is proved.
        in_time: what it says of a recurrent layer, step by step; None where it is about depth, or
            something else.
    """

    ailment: Ailment
    sentence: str
    layers: tuple[str, ...]
    evidence: Mapping[str, float]
    rule: str
    margin: float
    found_after: int = 0
    suspected_after: int | None = None
    needs_proof: bool = False
    in_time: TimeSignal | None = None


@dataclass(frozen=True)
class Suspicion:
    """What is suspected before it can be confirmed: after the first epoch, or for want of harm.

    Args:
        ailment: its kind.
        sentence: what it is, in words.
        named_after: steps of training after which it was named.
        probability: that it is confirmed: by how often such suspicions were, over the seeded faults
            and sound trainings that rules are tuned on.
        is_confirmed: whether it became a finding.
    """

    ailment: Ailment
    sentence: str
    named_after: int
    probability: float
    is_confirmed: bool = False
