"""Learning rates too large or too small for the curvature."""

from __future__ import annotations

from math import inf, isfinite

from thalweg.curvature import Stability
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._levels import HELPFUL, MOST, NOTHING
from thalweg.doctor._readings import FAR, UNTRAINED, WELL_WITHIN, Readings
from thalweg.doctor.findings._no_signal import is_beyond_simple
from thalweg.doctor.findings._settings import SQUARES
from thalweg.doctor.findings._units import are_driven_off

RISE = 0.1
"""The loss rises if it ends above its start by this share of the start, or of a blind answer's
loss where that is higher: noise around a minimum is no rise."""

OVERSHOOT = 0.5
"""A loss that rose above its start by this share of it, for a minibatch, was a step too far."""

THROWN = 2.0
"""And by this share, where nothing was learned afterwards, was thrown far off."""

LUCK = 4.0
"""Standard deviations of a minibatch's loss that are no chance."""

GAINS_EARLY = 0.3
"""After an epoch, another learning rate must learn this share of the attainable more in it."""

MOVES = 0.5
"""After an epoch, a rate is too small only if the whole training will move the parameters by less
than this share of their size, however straight they go, and at this pace will not get halfway."""

BARELY = 0.1
"""Of their size, that parameters move by in a training that may stay behind what it promises."""

STAYS = 1.0
"""A training that moves the parameters by less than their size has not gone far."""

RESTS, GAINS_AT_REST = 0.02, 0.05
"""Where it will move them by so little, any learning at another rate tells enough."""

BLOWN = 10.0
"""Times a blind answer's loss, from which on outputs have exploded."""

SLOW = 5.0
"""A larger rate goes this many times as far, where neither gets far yet."""

PATIENCE = 500
"""Steps an e-fold may take along the sharpest direction, however short the trials are."""


def lr_too_large(readings: Readings) -> Finding | None:
    """The step overshoots along the sharpest direction, and the loss rises, breaks down or hovers.

    Or it falls back to where it began, and no lower: an overshoot may end on a plateau.
    """
    if readings.trains_well or readings.watched.error is not None or not isfinite(readings.start):
        # A loss that is not finite before the first step is none of the step's doing.
        return None
    if readings.is_early and not _overshoots(readings, OVERSHOOT):
        return None
    stability = _stability(readings)
    ratio = stability.ratio if stability else 0.0
    is_unstable = ratio > 1 and not readings.trains and (_rises(readings) or _is_broken(readings))
    thrown = is_thrown(readings)
    if not (readings.is_early or thrown) and _overshoots(readings, RISE):
        thrown = are_driven_off(readings)
    # Where a step went much too far no other trainings need to be paid, nor where none ever did.
    is_asked = not thrown and (ratio > 1 or _overshoots(readings, RISE))
    helps = readings.slower if is_asked else 0.0
    if not (is_unstable or thrown) and helps < (GAINS_EARLY if readings.is_early else HELPFUL):
        return None
    if ratio <= 1 and readings.trains and not thrown:
        return None
    lr = float(readings.optimizer.param_groups[0]["lr"])
    start, end, peak = readings.start, readings.end, readings.watched.peak
    ending = f"rises to {peak:.3g} and ends at {end:.3g}" if isfinite(end) else "breaks down"
    if isfinite(end) and not _rises(readings):
        ending = f"hovers and ends at {end:.3g}"
    limits = (
        f" is {ratio:.3g} times too large for the curvature: sharpness {stability.sharpness:.3g} "
        f"against a limit of {stability.rule.limit:.3g} for {stability.rule.name}"
        if stability is not None and ratio > 1
        else " is too large"
    )
    tenth = f" A tenth of it learns {helps:.0%} of what can be learned more." if helps > 0 else ""
    evidence = {
        "loss at the point": readings.passed.value,
        "loss of the first minibatch": start,
        "highest training loss": peak,
        "training loss at the end": end,
        "share of the attainable that a smaller rate gains": helps,
    }
    if stability is not None:
        evidence |= {"sharpness": stability.sharpness, "stability limit": stability.rule.limit}
    return Finding(
        Ailment.LR_TOO_LARGE,
        f"The learning rate {lr:g}{limits}. Trained as it is, the loss starts at {start:.3g}, then "
        f"{ending}.{tenth}",
        (),
        evidence,
        f"the sharpness is above the optimizer's stability limit, and the training loss ends "
        f"{RISE:.0%} above where it began at least, or rises so far and ends no better than an "
        f"answer that ignores the input; or a minibatch's loss rises to {1 + THROWN:g} times that "
        f"and nothing is learned; or rises by {RISE:.0%} while half of a layer's units are driven "
        f"to where they no longer answer; or a smaller learning rate learns {HELPFUL:.0%} of the "
        f"attainable more in the same steps (a run above the limit that converges is no finding)",
        max(ratio, helps / HELPFUL, 1.0),
        readings.num_seen,
    )


def perhaps_lr_too_large(readings: Readings) -> Finding | None:
    """A step went far too far, though the training has come back from there and learns."""
    if readings.is_early or readings.watched.failure or not _overshoots(readings, THROWN):
        return None
    rate, peak = float(readings.optimizer.param_groups[0]["lr"]), max(readings.whole_minibatches)
    return Finding(
        Ailment.LR_TOO_LARGE,
        f"The learning rate {rate:g} is too large: the loss starts at {readings.start:.3g} and "
        f"rises to {peak:.3g} before it comes down to {readings.end:.3g}.",
        (),
        {
            "loss of the first minibatch": readings.start,
            "highest training loss": peak,
            "training loss at the end": readings.end,
        },
        f"a minibatch's loss rises to {1 + THROWN:g} times that of the start and of a blind "
        f"answer, and nothing else is found; it counts only where another rate is proved to do "
        f"better",
        peak / ((1 + THROWN) * max(readings.start, 1e-300)),
        readings.num_seen,
        needs_proof=True,
    )


def _begins_far_above(readings: Readings, times: float) -> bool:
    """Whether the outputs are too large to begin with: any larger step brings them down at once."""
    blind = readings.blind_loss
    return blind is not None and readings.start > times * blind > 0


def is_thrown(readings: Readings) -> bool:
    """Whether a step went so far that nothing was learned afterwards, where there is what to learn.

    Or the training broke off.
    """
    if _is_broken(readings):
        return True
    learned_nothing = readings.learned < NOTHING and not is_beyond_simple(readings)
    return learned_nothing and _overshoots(readings, THROWN)


def _overshoots(readings: Readings, share: float) -> bool:
    """Whether a minibatch's loss rose so far above the start and a blind answer's, or broke off.

    Farther than the luck of its samples takes it: minibatches of few samples differ by themselves.
    """
    if _is_broken(readings):
        return True
    blind = readings.start if readings.blind_loss is None else readings.blind_loss
    highest, least = max(readings.whole_minibatches, default=inf), max(readings.start, blind)
    if not highest > (1 + share) * least:
        return False
    return highest > (1 + share) * least + LUCK * readings.spread


def _stability(readings: Readings) -> Stability | None:
    return readings.card.stability if readings.card else None


def _is_broken(readings: Readings) -> bool:
    return bool(readings.watched.failure)


def _rises(readings: Readings) -> bool:
    start, end, peak = readings.start, readings.end, readings.watched.peak
    blind = readings.blind_loss
    height = start + RISE * max(abs(start), blind or 0.0)
    learns_nothing = end > (1 - RISE) * (start if blind is None else blind)
    return end > height or (peak > height and learns_nothing)


def lr_too_small(readings: Readings) -> Finding | None:
    """Along the sharpest direction, the fastest of all, the training is too short to get anywhere.

    Or a larger rate gets far in the steps in which this one hardly moves.
    """
    if readings.trains or readings.watched.failure or readings.is_warming_up:
        return None
    if lr_too_large(readings) is not None:
        return None
    least = GAINS_EARLY if readings.moves > RESTS else GAINS_AT_REST
    if readings.is_early and (
        _overshoots(readings, OVERSHOOT)
        or (_begins_far_above(readings, FAR) and readings.moves > RESTS)
        or readings.moves > MOVES
        or readings.halfway_in <= readings.times_left
        or readings.faster < least
    ):
        return None
    if not readings.is_early and readings.halfway_in <= WELL_WITHIN * readings.times_left:
        # That is no slow one, though its minibatches are too noisy to see where it goes.
        return None
    if not readings.is_early and _begins_far_above(readings, BLOWN):
        # Any rate is too small for such outputs: they are what may be wrong.
        return None
    stability = _stability(readings)
    rate = float(readings.optimizer.param_groups[0]["lr"])
    steps = inf
    if stability is not None and stability.sharpness > 0:
        # Far below its limit a step follows gradient flow: the error falls like e^(−pace λ t).
        steps = 1 / (stability.rule.pace * stability.sharpness)
    most = max(readings.total_steps, PATIENCE)
    if steps == inf or steps <= most:
        helps = readings.faster
        is_slow = helps >= HELPFUL or _crawls(readings) or _rests(readings)
        if not readings.is_early and (readings.learned > 0.4 or not is_slow):
            return None
        if stability is not None and stability.ratio > 1:
            return None
    else:
        helps = readings.faster
    evidence = {
        "share of the attainable that was learned": readings.learned,
        "share that a larger rate gains": helps,
        "steps of the training": float(readings.total_steps),
    }
    said = ""
    if stability is not None and isfinite(steps):
        evidence |= {
            "sharpness": stability.sharpness,
            "stability limit": stability.rule.limit,
            "steps per e-fold along the sharpest direction": steps,
        }
        said = (
            f": even along the sharpest direction {stability.rule.name} needs about {steps:.2g} "
            f"steps to bring the error down by a factor of e, and it is "
            f"{1 / stability.ratio:.2g} times below its stability limit"
        )
    return Finding(
        Ailment.LR_TOO_SMALL,
        f"The learning rate {rate:g} is too small{said}. In {readings.num_seen} steps "
        f"{max(readings.learned, 0.0):.0%} of what can be learned was learned; a larger rate gains "
        f"{max(helps, 0.0):.0%} more in {readings.probe.num_steps} steps.",
        (),
        evidence,
        f"one e-fold along the sharpest direction takes more than {PATIENCE} steps and more than "
        f"the training has, or ten or a hundred times the rate learns {HELPFUL:.0%} of the "
        f"attainable more in the same steps, or all steps of an optimizer that divides gradients "
        f"by their size move the parameters by {RESTS:.0%} at most; and {UNTRAINED}",
        max(steps / most if isfinite(steps) else 0.0, helps / HELPFUL, 1.0),
        readings.num_seen,
    )


def perhaps_lr_too_small(readings: Readings) -> Finding | None:
    """It is on its way, but the training will take neither the loss nor the parameters far."""
    if readings.is_early or readings.watched.failure or readings.is_warming_up:
        return None
    if readings.problem.epochs is None:
        # How far it will get is not known where it is not known how long it is.
        return None
    will_learn = readings.will_learn >= MOST and (readings.trains_well or readings.moves >= BARELY)
    if will_learn or readings.moves > STAYS:
        return None
    if _begins_far_above(readings, FAR):
        return None
    rate = float(readings.optimizer.param_groups[0]["lr"])
    return Finding(
        Ailment.LR_TOO_SMALL,
        f"The learning rate {rate:g} is too small: after {readings.num_seen} of "
        f"{readings.total_steps} steps {max(readings.learned, 0.0):.0%} of what can be learned was "
        f"learned, and at this pace all of them move the parameters by {readings.moves:.0%} of "
        f"their size.",
        (),
        {
            "share of the attainable that was learned": readings.learned,
            "‖Δθ‖/‖θ‖ of the whole training, at this pace": readings.moves,
            "steps of the training": float(readings.total_steps),
        },
        f"at the pace of the later steps watched, the training will learn less than {MOST:.0%} "
        f"of what can be learned and all its steps move the parameters by less than their size, or "
        f"it has learned less so far and they move them by less than {BARELY:.0%}; and nothing "
        f"else is found; it counts only where a larger rate is proved to do better",
        STAYS / max(readings.moves, 1e-6),
        readings.num_seen,
        needs_proof=True,
    )


def _rests(readings: Readings) -> bool:
    """Whether steps of which the rate alone decides the length hardly move the parameters."""
    optimizer = readings.watched.optimizer
    states = [] if optimizer is None else list(optimizer.state.values())
    has_scale = bool(states) and all(any(key in s for key in SQUARES) for s in states)
    return has_scale and readings.moves <= RESTS


def _crawls(readings: Readings) -> bool:
    """Whether it hardly learns, and a hundred times the rate goes many times as far."""
    start, probe = readings.start, readings.probe
    after = probe.at(100.0)
    if after is None:
        return False
    own, other = start - probe.of(readings.watched), start - after
    far = 0.03 * (start if readings.blind_loss is None else readings.blind_loss)
    return readings.learned < HELPFUL and other > far and other > SLOW * max(own, 0.0)
