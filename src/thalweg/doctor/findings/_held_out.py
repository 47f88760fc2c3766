"""Held-out data that are not like those that are trained on, so that no training helps there."""

from __future__ import annotations

from math import log

from torch import Tensor

from thalweg.doctor._attainable import carried_over
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import Readings
from thalweg.doctor._sample import Sample
from thalweg.doctor.findings._inputs import outlying
from thalweg.doctor.findings._no_signal import has_classes, own_z

SHIFT = 1.0
"""Standard deviations by which the median feature's mean differs."""

RATIO = 3.0
"""Times by which the median feature's spread differs."""

WORSE = 5.0
"""Standard errors below chance, on held-out data, of what is learned in training."""

SURE, LOST = 8.0, 0.2
"""Standard errors above chance at which a simple learner of the training data is expected on the
held-out data at least, and the share of them below which they contradict it."""

FEWEST = 20
"""Samples, on either side, that can be compared."""


def unlike_held_out(readings: Readings) -> Finding | None:
    """The given test data have other features, or labels that contradict those trained on.

    Labels contradict where a network that trains well is worse than chance on them, or a simple
    learner that must be sure of them is no better.
    """
    problem = readings.problem
    if not problem.test_batches or readings.watched.failure:
        return None
    held = Sample.of(problem.with_data(problem.test_batches))
    shift, ratio = _differences(readings.sample, held)
    expected, found = carried_over(readings.sample, held) or (0.0, 0.0)
    z = own_z(readings) if readings.trains_well and not readings.is_early else None
    is_counted = readings.held_out is not None and readings.held_out.accuracy is not None
    below = -z if z is not None and is_counted and has_classes(readings) else 0.0
    past = {
        "features": max(shift / SHIFT, log(ratio) / log(RATIO)),
        "labels": below / WORSE,
        "answers": expected / SURE if found < LOST * expected else 0.0,
    }
    kind = max(past, key=lambda name: past[name])
    if past[kind] < 1:
        return None
    said = {
        "features": f"the mean of the median feature lies {shift:.3g} standard deviations off, and "
        f"its spread differs {ratio:.3g} times",
        "labels": f"what the network learns of the training data is {below:.3g} standard errors "
        f"worse than chance there",
        "answers": f"what nearest neighbours or a linear model learn of the training data should "
        f"be {expected:.3g} standard errors better than chance there, and is {found:.3g}",
    }[kind]
    return Finding(
        Ailment.UNLIKE_HELD_OUT,
        f"The held-out data are unlike the training data: {said}. That cannot be explained by the "
        f"training: look at how both were scaled, shuffled and labelled.",
        (),
        {
            "shift of the median feature, in standard deviations": shift,
            "ratio of its spreads": ratio,
            "standard errors below chance": max(below, 0.0),
            "standard errors above chance of a simple learner, expected": expected,
            "standard errors above chance of a simple learner, found": found,
        },
        f"of the test data that are given, the median feature's mean is {SHIFT:g} standard "
        f"deviations off or its spread {RATIO:g} times another; or a network that trains well is "
        f"{WORSE:g} standard errors worse than chance on them; or a simple learner, expected to be "
        f"{SURE:g} standard errors better than chance at least, is by less than {LOST:.0%} of "
        f"that",
        past[kind],
        readings.num_seen if kind == "labels" else 0,
    )


def _differences(one: Sample, other: Sample) -> tuple[float, float]:
    """How far the median feature's mean and spread are off; 0 and 1 where they say nothing."""
    x, held = (_usual(sample) for sample in (one, other))
    if x.ndim != 2 or x.shape[1:] != held.shape[1:] or min(len(x), len(held)) < FEWEST:
        return 0.0, 1.0
    kept = x.std(0) > 1e-6 * x.square().mean(0).sqrt().clamp_min(1e-12)
    if not bool(kept.any()):
        return 0.0, 1.0
    spreads, others = x.std(0)[kept], held.std(0)[kept].clamp_min(1e-12)
    shift = ((held.mean(0) - x.mean(0))[kept].abs() / spreads).median()
    ratio = (others / spreads).log().abs().median().exp()
    return float(shift), float(ratio)


def _usual(sample: Sample) -> Tensor:
    """Without the samples that hold outliers: these are a finding of their own."""
    x = sample.finite_x
    return x[~outlying(sample)[0]] if x.ndim == 2 and x.numel() else x
