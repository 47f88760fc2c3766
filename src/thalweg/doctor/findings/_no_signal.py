"""Labels that have nothing to do with the inputs."""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from thalweg._batch import call_of
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import HELPFUL
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._targets import are_target_outliers

CHANCE = 4.5
"""Standard errors above which the better of two simple learners is not chance."""

OWN = 3.0
"""The same for this one network."""


def no_signal(readings: Readings) -> Finding | None:
    """No learner does better than chance on unseen samples, and this network does not either."""
    found, held_out = readings.levels.attainable, readings.held_out
    if found is None or not is_beyond_simple(readings):
        return None
    if readings.watched.error is not None:
        # What could not be run has not shown that it learns no better.
        return None
    own = own_z(readings)
    if own is None or own >= OWN:
        return None
    evidence = {
        "standard errors by which simple learners agree with the labels": found.z,
        "standard errors that the network is better than chance": own,
    }
    if held_out is not None:
        evidence["held-out loss"] = held_out.loss
    if readings.levels.blind is not None:
        evidence["loss of the best constant answer"] = readings.levels.blind
    return Finding(
        Ailment.NO_SIGNAL,
        "The labels carry no signal: neither nearest neighbours nor a linear model nor this "
        "network does better than chance on samples that it has not seen. That cannot be "
        "explained by the training: look at how inputs and labels were put together.",
        (),
        evidence,
        f"leave-one-out, the answers of nearest neighbours and of ridge regression agree with the "
        f"labels by less than {CHANCE:g} standard errors, and the network is less than {OWN:g} "
        f"better than a constant answer on held-out data",
        CHANCE / max(found.z, 0.5),
        readings.num_seen,
    )


def perhaps_no_signal(readings: Readings) -> Finding | None:
    """Simple learners do no better than chance, and the network has not learned anything so far.

    That is a reason to suspect the labels, and no more: a network may find what they do not.
    """
    found = readings.levels.attainable
    if found is None or not is_beyond_simple(readings):
        return None
    if readings.learned * readings.levels.explained >= HELPFUL:
        return None
    return Finding(
        Ailment.NO_SIGNAL,
        f"The labels may carry no signal: neither nearest neighbours nor a linear model does "
        f"better than chance on samples that it has not seen, and in {readings.num_seen} steps the "
        f"network has learned next to nothing.",
        (),
        {"standard errors by which simple learners agree with the labels": found.z},
        f"leave-one-out, the answers of nearest neighbours and of ridge regression agree with the "
        f"labels by less than {CHANCE:g} standard errors, and the training loss is less than "
        f"{HELPFUL:.0%} below that of a constant answer",
        CHANCE / max(found.z, 0.5),
        readings.num_seen,
    )


def is_beyond_simple(readings: Readings) -> bool:
    """Whether simple learners do no better than chance: nor need a sound training.

    Missing values and outliers of the targets hide what they would find: then it is not known.
    """
    found = readings.levels.attainable
    is_hidden = readings.sample.bad_inputs or are_target_outliers(readings)
    return found is not None and found.z < CHANCE and not is_hidden


def own_z(readings: Readings) -> float | None:
    """How many standard errors the network's held-out answers are better than a constant one."""
    score, blind = readings.held_out, readings.levels.blind
    if score is None:
        return 0.0 if readings.watched.failure else None
    y, size = readings.sample.y, _num_held_out(readings)
    if score.accuracy is not None and y is not None and size and has_classes(readings):
        shares = y.double().mean() if readings.sample.is_binary else None
        if shares is not None:
            most = max(float(shares), 1 - float(shares))
        else:
            most = float(y.unique(return_counts=True)[1].max()) / len(y)
        return (score.accuracy - most) / sqrt(max(most * (1 - most), 1e-9) / size)
    if blind is None or not blind > 0:
        return None
    # A squared error's standard error is about √(2/N) of it.
    return (blind - score.loss) / blind / sqrt(2 / max(size, 1))


def has_classes(readings: Readings) -> bool:
    """Whether an answer is right or wrong; grey values in [0, 1] are met to some extent."""
    return readings.sample.is_classes or readings.sample.is_binary


def _num_held_out(readings: Readings) -> int:
    targets = [call_of(b, readings.problem.model).target for b in readings.plan.held_out]
    return sum(len(target) for target in targets if isinstance(target, Tensor) and target.ndim)
