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

DOUBTED = 0.2
"""Times that, from which on it is doubted in a training that learns well so far."""

LONG = 2.0
"""Times past that, what momentum would do by itself is looked at after an epoch."""

CARRIED_OFF = 40.0
"""It carries the training off where the loss without any further gradient would be so many times
that of a blind answer and of the start."""

SWINGS = 5.0
"""From so many times on that is suspected: some trainings come back from there in time."""

SQUARES = ("exp_avg_sq", "square_avg", "sum")
"""Where Adam, RMSprop and Adagrad keep what they divide by the root of."""

OUTWEIGHED = 10.0
"""ε decides the step if it is this many times √v̂ in the median entry."""


def momentum(readings: Readings) -> Finding | None:
    """The average over past gradients is longer than what the training can wait for."""
    beta = heaviest(readings.optimizer)
    lasts, past = horizon(readings.optimizer), _past(readings)
    # Without Adam's correction the step grows for so long: that it has learned by now is no sign.
    is_plain = "momentum" in readings.optimizer.param_groups[0]
    grows_to_the_end = is_plain and lasts > readings.total_steps
    has_broken = bool(readings.watched.failure) and readings.watched.error is None
    if beta >= HEAVY and has_broken:
        return _too_high(readings, beta, False)
    if beta < HEAVY or past < 1:
        return None if readings.trains_well else _out_of_step(readings)
    is_off = is_carried_off(readings)
    if readings.trains_well and not (grows_to_the_end or is_off):
        return None
    return _too_high(readings, beta, is_off)


def perhaps_momentum(readings: Readings) -> Finding | None:
    """After an epoch momentum alone would carry it off, though not so far that it is certain."""
    is_off = is_carried_off(readings, SWINGS)
    return _too_high(readings, heaviest(readings.optimizer), is_off) if is_off else None


def doubtful_momentum(readings: Readings) -> Finding | None:
    """The average is as long in a training that learns well so far: what it does comes late.

    Or Adam averages gradients for longer than the squares that it divides them by.
    """
    beta = heaviest(readings.optimizer)
    if readings.is_early or readings.watched.failure:
        return None
    if beta >= HEAVY and _past(readings) >= DOUBTED:
        return replace(_too_high(readings, beta, False), needs_proof=True)
    found = _out_of_step(readings)
    return None if found is None else replace(found, needs_proof=True)


def _out_of_step(readings: Readings) -> Finding | None:
    """β₁ is not below √β₂: after a large gradient the step grows, as its square is forgotten."""
    pairs = [g["betas"] for g in readings.optimizer.param_groups if "betas" in g]
    beta, other = max(pairs, key=lambda pair: pair[0] ** 2 - pair[1], default=(0.0, 1.0))
    if beta**2 < other:
        return None
    return Finding(
        Ailment.MOMENTUM,
        f"β₁ = {beta:g} is too high beside β₂ = {other:g}: gradients are averaged for longer than "
        f"the squares that they are divided by, so that steps grow after a large gradient. Use 0.9 "
        f"and 0.999.",
        (),
        {"β₁": float(beta), "β₂": float(other)},
        f"β₁ of Adam is not below √β₂, the condition under which it is known to converge (Zou et "
        f"al. 2019), and {NOT_WELL}; of one that learns well so far it counts only where other "
        f"averages are proved to do better",
        float(beta) ** 2 / max(float(other), 1e-12),
        readings.num_seen,
    )


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
        f"steps of the training, and {NOT_WELL}; or the training breaks off; or SGD's average is "
        f"longer than the training; or "
        f"1/(1 − β) is above {LONG * HORIZON:.0%} of the steps, and after an epoch momentum alone, "
        f"without any further gradient, would carry the loss to more than {CARRIED_OFF:g} times "
        f"that of a blind answer and of the start; from {DOUBTED * HORIZON:.0%} of the steps on it "
        f"counts where the usual momentum is proved to do better",
        max(past, 1.0),
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
    """ε is so large that the step is a gradient step with the rate lr/ε."""
    return None if readings.trains_well else _too_large(readings, OUTWEIGHED)


def perhaps_epsilon(readings: Readings) -> Finding | None:
    """It is as large as what it is added to, in a training that learns so far."""
    if readings.is_early or readings.watched.failure:
        return None
    found = _too_large(readings, 1.0)
    return None if found is None else replace(found, needs_proof=True)


def _too_large(readings: Readings, times: float) -> Finding | None:
    optimizer = readings.watched.optimizer
    group = readings.optimizer.param_groups[0]
    eps = float(group.get("eps", 0) or 0)
    if eps < 1e-5 or optimizer is None:
        return None
    roots = []
    for state in optimizer.state.values():
        squares = next((state[key] for key in SQUARES if key in state), None)
        if squares is not None:
            count = float(state.get("step", 1) or 1)
            correction = 1 - float(group["betas"][1]) ** count if "betas" in group else 1.0
            roots.append((squares / max(correction, 1e-12)).sqrt().flatten().double().cpu())
    if not roots:
        return None
    root = float(torch.cat(roots).median())
    past = eps / max(times * root, 1e-300)
    if past < 1:
        return None
    return Finding(
        Ailment.EPSILON,
        f"ε = {eps:g} is too large for {type(optimizer).__name__}: it is "
        f"{eps / max(root, 1e-300):.3g} times the root of squared gradients √v̂ = {root:.2g} that "
        f"it is added to, so that steps are as many times smaller than the learning rate says. "
        f"Use 1e-8.",
        (),
        {"epsilon": eps, "√v̂, median over entries": root},
        f"ε is more than {OUTWEIGHED:g} times the median √v̂ after the training, and {NOT_WELL}; "
        f"where it is more than √v̂, it counts only where a smaller one is proved to do better",
        min(past, 1e12),
        readings.num_seen,
    )
