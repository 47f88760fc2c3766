"""Targets of a shape, range or scale that output and loss do not go with."""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod

from torch import Tensor

from thalweg._loss import Kind
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import FAINT, HALF, MOST
from thalweg.doctor._outlying import FAR, FEW, USUAL, WILD, are_wild, distances
from thalweg.doctor._readings import NOT_WELL, UNTRAINED, Readings

LARGE = 10.0
"""Targets of a regression are large from this root mean square on: networks begin near zero."""

FALLEN = 0.05
"""A loss that falls below this share of its start has come to the scale of the targets."""

SMALL = 1e-2
"""And small below this one."""

BEYOND = 1 - MOST
"""Of what can be learned, that no output can come near, from which on none learns it well."""


def target_shape(readings: Readings) -> Finding | None:
    """(n, 1) against (n,): the loss compares every sample with every other."""
    pair = readings.head.broadcast
    if pair is None:
        return None
    one, other = pair
    size = max(prod(one), prod(other))
    return Finding(
        Ailment.TARGET_SHAPE,
        f"Output and target have the shapes {one} and {other}, so that the loss is taken over all "
        f"{size} × {size} pairs, every sample against every other: the best answer to that is one "
        f"constant. Give both one shape: y.reshape(len(y), -1).",
        (),
        {"samples compared with each": float(size)},
        "one of the two has a last dimension of one that the other lacks, and the loss broadcasts",
        float(size),
    )


def target_range(readings: Readings) -> Finding | None:
    """Targets that the loss or the last activation cannot mean."""
    beyond = _beyond(readings)
    if beyond is None:
        return None
    head, (least, most, _) = readings.head, beyond
    if (
        head.num_classes is None
        and head.kind in (Kind.SQUARED, Kind.ELEMENTWISE)
        and readings.may_train_well
        and (readings.trains_well or _out_of_reach(readings, least, most) < BEYOND)
    ):
        return None
    return _out_of_range(
        readings,
        beyond,
        "a target lies outside of what the loss is defined for, or of what the last activation can "
        "return (in a regression only where the network learns less than 80 % of the attainable or "
        "no network with such outputs could learn more)",
    )


def perhaps_target_range(readings: Readings) -> Finding | None:
    """The same of a regression that learns well, which may learn more of what it can return."""
    beyond = None if readings.is_early else _beyond(readings)
    if beyond is None:
        return None
    rule = (
        "a target lies outside of what the last activation can return; of a training that learns "
        "well it counts only where it is proved to do better without"
    )
    return replace(_out_of_range(readings, beyond, rule), needs_proof=True)


def _beyond(readings: Readings) -> tuple[float, float, str] | None:
    """Least and greatest that a target may be, and why; None where all are, or it is not known."""
    low, high, allowed = readings.head.target_low, readings.head.target_high, _allowed(readings)
    if low is None or high is None or allowed is None:
        return None
    least, most, _ = allowed
    slack = 1e-6 * max(abs(least), abs(most) if most < 1e300 else 1.0, 1.0)
    return None if low >= least - slack and high <= most + slack else allowed


def _out_of_range(readings: Readings, allowed: tuple[float, float, str], rule: str) -> Finding:
    low, high = readings.head.target_low, readings.head.target_high
    assert low is not None, "a target is out of range"
    assert high is not None, "a target is out of range"
    least, most, why = allowed
    beyond = max(least - low, high - most)
    bounds = f"between {least:g} and {most:g}" if most < 1e300 else f"{least:g} or more"
    return Finding(
        Ailment.TARGET_RANGE,
        f"The targets run from {low:g} to {high:g}, and {why} can only be {bounds}: change the "
        f"targets, or the last layer and the loss.",
        (),
        {"least target": low, "greatest target": high, "least allowed": least,
         "greatest allowed": most},
        rule,
        1 + beyond / max(most - least, 1.0),
    )  # fmt: skip


def _out_of_reach(readings: Readings, least: float, most: float) -> float:
    """Share of what can be learned of the targets that no output between these bounds comes near.

    The best answers are taken to be spread like the targets, but with the variance that can be
    explained: those drawn in towards their mean by its root.
    """
    y, found = readings.sample.y, readings.levels.attainable
    if y is None or not y.is_floating_point() or readings.sample.bad_targets:
        return 0.0
    explained = FAINT if found is None else min(max(found.explained, FAINT), 1.0)
    spread = explained**0.5 * (y - y.mean(0))
    answers = y.mean(0) + spread
    lost = (answers - answers.clamp(least, most)).square().mean()
    return float(lost / spread.square().mean().clamp_min(1e-300))


def _allowed(readings: Readings) -> tuple[float, float, str] | None:
    head = readings.head
    if head.kind in (Kind.CLASSES, Kind.LOG_CLASSES) and readings.sample.is_classes:
        classes = head.num_classes
        if classes is None:
            return None
        return 0.0, classes - 1.0, f"classes of an output with {classes} entries"
    if head.kind in (Kind.BINARY, Kind.BINARY_LOGITS):
        return 0.0, 1.0, "targets of a binary cross-entropy"
    if head.kind in (Kind.SQUARED, Kind.ELEMENTWISE):
        unit, signed, positive = (0.0, 1.0), (-1.0, 1.0), (0.0, 1e308)
        ranges = {"sigmoid": unit, "softmax": unit, "tanh": signed, "hardtanh": signed,
                  "relu": positive, "softplus": positive}  # fmt: skip
        if head.final in ranges:
            return *ranges[head.final], f"what a final {head.final} returns"
    return None


def target_outliers(readings: Readings) -> Finding | None:
    """A few targets of a regression far beyond all others: they alone make the gradient.

    Where they are wild, a loss of minibatches without them passes for learning.
    """
    if not are_target_outliers(readings):
        return None
    away = _target_distances(readings)
    if readings.trains_well and not are_wild(away):
        return None
    share, furthest = float((away > 0).double().mean()), float(away.max())
    return Finding(
        Ailment.OUTLIERS,
        f"The targets hold outliers: {share:.2%} of the samples have one up to {furthest:.3g} "
        f"times further from the median than {USUAL:.0%} of the samples. Look at what they stand "
        f"for (a code for what is missing?), and leave them out.",
        (),
        {"share of samples": share, "distance over that of most samples": furthest},
        f"of the targets of a regression, fewer than {FEW:.0%} lie more than {FAR:g} times "
        f"further from the median than {USUAL:.0%} of them; and {NOT_WELL}, or half of them lie "
        f"more than {WILD:g} times further, and a remedy is proved",
        furthest / FAR,
        readings.num_seen,
        needs_proof=readings.trains_well,
    )


def are_target_outliers(readings: Readings) -> bool:
    """Whether a few targets of a regression lie far beyond all others."""
    y = readings.sample.y
    if y is None or not y.is_floating_point() or readings.sample.bad_targets or len(y) < 20:
        return False
    if readings.head.kind not in (Kind.SQUARED, Kind.ELEMENTWISE):
        return False
    return bool((_target_distances(readings) > 0).any())


def _target_distances(readings: Readings) -> Tensor:
    y = readings.sample.y
    assert y is not None, "there are targets"
    return distances(y.reshape(len(y), -1))


def target_scale(readings: Readings) -> Finding | None:
    """Targets of a regression so large or small that the network does not get there."""
    return None if readings.trains else _of_scale(readings, UNTRAINED)


def perhaps_target_scale(readings: Readings) -> Finding | None:
    """They are small, and all that the training has learned so far is to come down to them."""
    is_seen = not (readings.is_early or readings.watched.failure)
    if not (is_seen and readings.trains and readings.learned < HALF):
        return None
    found = _of_scale(
        readings, "half of what can be learned is not learned yet; a remedy is proved"
    )
    is_small = found is not None and readings.end > (readings.blind_loss or inf)
    return replace(found, needs_proof=True) if found is not None and is_small else None


def _of_scale(readings: Readings, where: str) -> Finding | None:
    y = readings.sample.y
    if y is None or not y.is_floating_point() or readings.sample.bad_targets:
        return None
    if readings.head.kind not in (Kind.SQUARED, Kind.ELEMENTWISE):
        return None
    if are_target_outliers(readings):
        y = y[_target_distances(readings) == 0]
    scale, spread = float(y.square().mean().sqrt()), float(y.std())
    past = max(scale / LARGE, SMALL / max(scale, 1e-300) if scale else 0.0)
    # Small ones are overshot by outputs about 1, and every loss falls from there.
    is_coming = scale > LARGE and readings.end < FALLEN * readings.start
    if past < 1 or is_coming or readings.head.broadcast is not None:
        return None
    size = "large" if scale > LARGE else "small"
    return Finding(
        Ailment.TARGET_SCALE,
        f"The targets are {size}: root mean square {scale:.3g}, standard deviation {spread:.3g}, "
        f"while a network begins with outputs about 1 and steps that suit such; here it "
        f"{_ending(readings)}. Standardise them: (y − mean)/std.",
        (),
        {"root mean square of the targets": scale, "their standard deviation": spread,
         "training loss at the end": readings.end},
        f"the root mean square of the targets of a regression is above {LARGE:g} or below "
        f"{SMALL:g}, and {where}",
        past,
        readings.num_seen,
    )  # fmt: skip


def _ending(readings: Readings) -> str:
    if readings.watched.failure:
        return "breaks down"
    return f"learns {max(readings.learned, 0.0):.0%} of what can be learned"
