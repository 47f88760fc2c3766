"""Inputs of a scale that no layer expects, with outliers, or without anything in them."""

from __future__ import annotations

from dataclasses import replace

from scipy.stats import poisson
from torch import Tensor

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._outlying import FAR, FEW, USUAL, WILD, are_wild, distances
from thalweg.doctor._readings import NOT_WELL, UNTRAINED, Readings
from thalweg.doctor._sample import Sample

LARGE = 10.0
"""Root mean square of a feature from which on it is large: layers are made for about 1."""

SMALL = 0.03
"""And below which the whole input is small."""

UNEVEN = 100.0
"""Features differ too much if the largest spread is this many times the median one."""

HUGE = 100.0
"""Root mean square from which on the inputs are doubted in a training that learns well."""

CHANCE = 1e-3
"""The probability below which it is no chance that held-out samples have fewer outliers."""

ALL = 0.95
"""Without so many features hardly anything is left to learn by, whatever the training says."""

CONSTANT_SHARE = 0.5
"""Features without any spread are a finding from this share on."""


def input_scale(readings: Readings) -> Finding | None:
    """Features much larger or smaller than one, or than one another, that no layer is made for."""
    return None if readings.trains_well else _unscaled(readings)


def perhaps_input_scale(readings: Readings) -> Finding | None:
    """Huge ones that reach the first activation, of a training that learns well all the same."""
    if readings.is_early or readings.watched.failure or not is_flooded(readings):
        return None
    found = _unscaled(readings)
    return None if found is None else replace(found, needs_proof=True)


def is_flooded(readings: Readings) -> bool:
    """Whether huge inputs reach the first activation as they are: what is flat there is so by them.

    Read from the pass, before any training.
    """
    sample = readings.sample
    if not _is_table(sample) or not bool(sample.varies.any()):
        return False
    return float(sample.scales[sample.varies].amax()) > HUGE and arrive_large(readings)


def _unscaled(readings: Readings) -> Finding | None:
    sample = readings.sample
    if not _is_table(sample) or outlying(sample)[0].any():
        return None
    scales = sample.scales[sample.varies]
    if not len(scales):
        return None
    largest, typical = float(scales.max()), float(scales.square().mean().sqrt())
    spreads = sample.spreads[sample.varies]
    uneven = float(spreads.max() / spreads.median()) if len(spreads) > 1 else 1.0
    # What the first layer normalises needs no scale: such a network learns.
    past = {
        "large": largest / LARGE,
        "small": SMALL / largest,
        "uneven": uneven / UNEVEN if uneven > UNEVEN and largest > 1 else 0.0,
    }
    kind = max(past, key=lambda name: past[name])
    if past[kind] < 1:
        return None
    if kind == "small" and readings.trains:
        return None
    said = {
        "large": f"the largest feature has a root mean square of {largest:.3g}",
        "small": f"the largest feature has a root mean square of {largest:.3g} only",
        "uneven": f"the spreads of the features differ {uneven:.3g} times from the median one",
    }[kind]
    return Finding(
        Ailment.INPUT_SCALE,
        f"The inputs are not scaled: {said}, while layers are made for about 1. Standardise each "
        f"feature: (x − mean)/std of the training data.",
        (),
        {
            "root mean square of the largest feature": largest,
            "root mean square of all": typical,
            "largest spread over the median": uneven,
        },
        f"a feature's root mean square is above {LARGE:g}, or all are below {SMALL:g}, or the "
        f"spreads differ {UNEVEN:g} times; and {NOT_WELL}, or from {HUGE:g} on a remedy is proved",
        past[kind],
        readings.num_seen,
    )


def arrive_large(readings: Readings) -> bool:
    """Whether what is large in the inputs is so at the first activation, too: nothing scales it.

    Read from the pass, before any training.
    """
    rows = readings.signal.rows
    return bool(rows) and rows[0].scale > LARGE and not readings.sample.bad_inputs


def outliers(readings: Readings) -> Finding | None:
    """A few values far beyond all others decide the gradient."""
    away = _far_off(readings)
    if away is None:
        return None
    are_foreign = _are_foreign(readings, away > 0)
    if readings.trains_well and not are_foreign:
        are_told = are_wild(away) and arrive_large(readings)
        return _told_outliers(readings, away) if are_told else None
    return replace(_told_outliers(readings, away, are_foreign), needs_proof=False)


def perhaps_outliers(readings: Readings) -> Finding | None:
    """They are wild, and something scales them, in a training that learns well all the same."""
    if readings.is_early or readings.watched.failure:
        return None
    away = _far_off(readings)
    if away is None or not are_wild(away):
        return None
    return _told_outliers(readings, away)


def _far_off(readings: Readings) -> Tensor | None:
    """The samples' distances where some lie far beyond the usual, None where none do."""
    if not _is_table(readings.sample):
        return None
    found = distances(readings.sample.finite_x)
    return found if bool((found > 0).any()) else None


def _told_outliers(readings: Readings, away: Tensor, are_foreign: bool = False) -> Finding:
    furthest = float(away.max())
    share = float((away > 0).double().mean())
    foreign = ", and the held-out ones do not" if are_foreign else ""
    return Finding(
        Ailment.OUTLIERS,
        f"The inputs hold outliers: {share:.2%} of the samples have a value up to {furthest:.3g} "
        f"times further from the median than {USUAL:.0%} of the samples{foreign}. Clip them, or "
        f"leave them out.",
        (),
        {"share of samples": share, "distance over that of most samples": furthest},
        f"in a feature, fewer than {FEW:.0%} of the samples have a value more than {FAR:g} times "
        f"further from its median than {USUAL:.0%} of them; and {NOT_WELL}, or half of them one "
        f"more than {WILD:g} times, and a remedy is proved, or so few of the held-out samples "
        f"have that the probability is below {CHANCE:g}",
        furthest / FAR,
        readings.num_seen,
        needs_proof=True,
    )


def constant_features(readings: Readings) -> Finding | None:
    """Features that are the same in every sample say nothing, and large ones drown the rest."""
    share, large = _constant(readings.sample)
    if max(share / CONSTANT_SHARE, large / LARGE) < 1 or (readings.trains and share < ALL):
        return None
    return _told_constant(readings, share, large)


def perhaps_constant_features(readings: Readings) -> Finding | None:
    """One far larger than what varies, of a training that learns well: it moves with every step."""
    share, large = _constant(readings.sample)
    if readings.is_early or not share:
        return None
    varying = readings.sample.scales[readings.sample.varies]
    usual = float(varying.median().nan_to_num(0.0))
    if large <= LARGE * max(usual, 1.0):
        return None
    return replace(_told_constant(readings, share, large), needs_proof=True)


def _constant(sample: Sample) -> tuple[float, float]:
    """The share of features that never change, and the size of the largest; 0 where none does."""
    if not _is_table(sample) or sample.bad_inputs:
        return 0.0, 0.0
    is_constant = ~sample.varies
    share = float(is_constant.double().mean())
    return share, float(sample.scales[is_constant].max()) if share else 0.0


def _told_constant(readings: Readings, share: float, large: float) -> Finding:
    number = len(readings.sample.spreads)
    return Finding(
        Ailment.CONSTANT_FEATURES,
        f"{round(share * number)} of {number} features are the same in every sample, up to "
        f"{large:.3g} large: they say nothing, and their weights act as one more bias. Leave them "
        f"out.",
        (),
        {"share of features": share, "largest of them": large},
        f"half of the features do not vary, or one that does not is above {LARGE:g}, and "
        f"{UNTRAINED}; or {ALL:.0%} do not vary; or one is {LARGE:g} times larger than those that "
        f"vary, and training without its size is proved to do better",
        max(share / CONSTANT_SHARE, large / LARGE),
        readings.num_seen,
    )


def _is_table(sample: Sample) -> bool:
    return sample.x.ndim == 2 and sample.x.numel() > 0 and len(sample.x) >= 20


def outlying(sample: Sample) -> tuple[Tensor, float]:
    """Which samples have a value far beyond the usual, and how far the furthest is."""
    found = distances(sample.finite_x)
    return found > 0, float(found.max())


def _are_foreign(readings: Readings, far: Tensor) -> bool:
    """Whether the given test data hold fewer outliers than chance explains."""
    problem = readings.problem
    if not problem.test_batches:
        return False
    held_out = Sample.of(problem.with_data(problem.test_batches))
    if not _is_table(held_out) or held_out.x.shape[1:] != readings.sample.x.shape[1:]:
        return False
    expected = float(far.double().mean()) * len(held_out.finite_x)
    return bool(poisson.cdf(int(outlying(held_out)[0].sum()), expected) < CHANCE)
