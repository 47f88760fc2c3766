"""Momentum and ε of the optimizer that do not suit the length of the training."""

from __future__ import annotations

from dataclasses import replace

import torch

from thalweg.doctor._coasting import heaviest, horizon
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import NOT_WELL, Readings

HEAVY = 0.98
"""Momentum that averages over 50 steps or more."""

HORIZON = 0.1
"""Share of all steps that the average may run over."""

LONG = 2.0
"""Times past that, what momentum would do by itself is looked at after an epoch."""

CARRIED_OFF = 40.0
"""It carries the training off where the loss without any further gradient would be so many times
that of a blind answer and of the start."""

SWINGS = 5.0
"""From so many times on that is suspected: some trainings come back from there in time."""

OUTWEIGHED = 10.0
"""ε decides the step if it is this many times √v̂ in the median entry."""


def momentum(readings: Readings) -> Finding | None:
    """The average over past gradients is longer than what the training can wait for."""
    beta = heaviest(readings.optimizer)
    lasts, past = horizon(readings.optimizer), _past(readings)
    # Without Adam's correction the step grows for so long: that it has learned by now is no sign.
    is_plain = "momentum" in readings.optimizer.param_groups[0]
    grows_to_the_end = is_plain and lasts > readings.total_steps
    if beta < HEAVY or past < 1:
        return None
    is_off = is_carried_off(readings)
    if readings.trains_well and not (grows_to_the_end or is_off):
        return None
    return _too_high(readings, beta, is_off)


def perhaps_momentum(readings: Readings) -> Finding | None:
    """After an epoch momentum alone would carry it off, though not so far that it is certain."""
    is_off = is_carried_off(readings, SWINGS)
    return _too_high(readings, heaviest(readings.optimizer), is_off) if is_off else None


def doubtful_momentum(readings: Readings) -> Finding | None:
    """The average is as long in a training that learns well so far: what it does comes late."""
    beta = heaviest(readings.optimizer)
    if readings.is_early or readings.watched.failure or beta < HEAVY or _past(readings) < 1:
        return None
    return replace(_too_high(readings, beta, False), needs_proof=True)


def _too_high(readings: Readings, beta: float, is_off: bool) -> Finding:
    lasts, past = horizon(readings.optimizer), _past(readings)
    evidence = {
        "momentum": beta,
        "steps that it averages over": lasts,
        "steps of the training": float(readings.total_steps),
        "training loss at the end": readings.end,
    }
    carried = ""
    if is_off and readings.coasted is not None:
        evidence["loss if no gradient came any more"] = readings.coasted
        carried = (
            f" By step {readings.num_seen} it has gathered so much that it alone would carry the "
            f"loss to {readings.coasted:.3g}."
        )
    return Finding(
        Ailment.MOMENTUM,
        f"The momentum {beta:g} is too high: it averages over {lasts:.3g} steps of a training of "
        f"{readings.total_steps}, so that the walk overshoots and swings back.{carried} Use 0.9.",
        (),
        evidence,
        f"momentum (β₁ of Adam) is {HEAVY:g} or more and 1/(1 − β) above {HORIZON:.0%} of the "
        f"steps of the training, and {NOT_WELL}; or SGD's average is longer than the training; or "
        f"1/(1 − β) is above {LONG * HORIZON:.0%} of the steps, and after an epoch momentum alone, "
        f"without any further gradient, would carry the loss to more than {CARRIED_OFF:g} times "
        f"that of a blind answer and of the start; of one that learns well so far it counts where "
        f"the usual momentum is proved to do better",
        past,
        readings.num_seen,
    )


def is_carried_off(readings: Readings, times: float = CARRIED_OFF) -> bool:
    """Whether what an epoch has gathered would by itself throw the training far off.

    It takes 1/(1 − β) steps to brake. Gradients must undo all of that, and overshoot in turn.
    """
    if not readings.is_early or heaviest(readings.optimizer) < HEAVY or _past(readings) < LONG:
        return False
    blind = readings.start if readings.blind_loss is None else readings.blind_loss
    far = times * max(blind, readings.start)
    return far > 0 and readings.coasted is not None and readings.coasted > far


def _past(readings: Readings) -> float:
    """How many times 1/(1 − β) is past the share of the steps that it may run over."""
    return horizon(readings.optimizer) / (HORIZON * readings.total_steps)


def epsilon(readings: Readings) -> Finding | None:
    """ε is so large that Adam's step is a gradient step with the rate lr/ε."""
    optimizer = readings.watched.optimizer
    group = readings.optimizer.param_groups[0]
    eps = float(group.get("eps", 0) or 0)
    if readings.trains_well or eps < 1e-5 or optimizer is None:
        return None
    key = "exp_avg_sq" if "betas" in group else "square_avg"
    roots = []
    for state in optimizer.state.values():
        if key in state:
            count = float(state.get("step", 1) or 1)
            beta = float(group["betas"][1]) if "betas" in group else float(group.get("alpha", 0))
            correction = 1 - beta**count if "betas" in group else 1.0
            roots.append((state[key] / max(correction, 1e-12)).sqrt().flatten().double().cpu())
    if not roots:
        return None
    root = float(torch.cat(roots).median())
    past = eps / max(OUTWEIGHED * root, 1e-300)
    if past < 1:
        return None
    return Finding(
        Ailment.EPSILON,
        f"ε = {eps:g} is too large for {type(optimizer).__name__}: it is "
        f"{eps / max(root, 1e-300):.3g} times the usual gradient √v̂ = {root:.2g} that it is "
        f"added to, so that steps are that many times smaller than the learning rate says. Use "
        f"1e-8.",
        (),
        {"epsilon": eps, "√v̂, median over entries": root},
        f"ε is more than {OUTWEIGHED:g} times the median √v̂ after the training, and {NOT_WELL}",
        min(past, 1e12),
        readings.num_seen,
    )
