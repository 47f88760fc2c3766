"""What a training step does with its gradient: stale ones kept, clipping, weight decay."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf
from statistics import median

import torch

from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import NOT_WELL, Readings

STALE = 0.05
"""A stale gradient counts from this share of the fresh one on."""

OFTEN = 0.5
"""Share of the steps in which it must be so."""

CLIPPED = 0.1
"""Clipping is low if it leaves this share of the gradient's norm or less, in the median step."""

SHRUNK = 0.5
"""Weight decay matters if it alone shrinks weights by e^−0.5 over the training."""

PULLS = 0.1
"""Of the gradient, from which on its pull may be why a training stays behind."""

FORGOTTEN = 50.0
"""Steps below which a weight that decay alone acts on would shrink to e⁻¹: what a minibatch taught
is gone before all have been seen. Usual settings leave a thousand and more."""

KEPT = 100.0
"""Steps, up to which that is doubted in a training that learns well."""

SCALE_FREE = (
    *(torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam),
    *(torch.optim.Adamax, torch.optim.RMSprop, torch.optim.Adagrad, torch.optim.Adadelta),
    *(torch.optim.Rprop, torch.optim.Adafactor),
)
"""Divide by the gradient's size."""

DECOUPLED = (torch.optim.AdamW, torch.optim.Adafactor)
"""Shrink the weights beside the step; others of them do so where they are told."""


def accumulated(readings: Readings) -> Finding | None:
    """Gradients that an optimizer step has used already lie in the next one, too."""
    uses = readings.watched.uses[1:]
    if len(uses) < 2:
        return None
    share = sum(use.stale > STALE * use.fresh for use in uses) / len(uses)
    if share < OFTEN:
        return None
    ratio = median(use.stale / max(use.fresh, 1e-300) for use in uses)
    return Finding(
        Ailment.ACCUMULATED,
        f"Gradients accumulate over optimizer steps: in {share:.0%} of the steps .grad still held "
        f"what the step before had used, {ratio:.3g} times as large as the new gradient in the "
        f"median. Call optimizer.zero_grad() in every step.",
        (),
        {"share of steps with a stale gradient": share, "stale over fresh, median": ratio},
        f"in {OFTEN:.0%} of the optimizer steps the gradient of the step before lies in .grad when "
        f"the new one arrives, larger than {STALE:.0%} of it (gradients that are summed up between "
        f"two optimizer steps are no finding)",
        share / OFTEN,
        min(readings.num_seen, 3),
    )


def clipping(readings: Readings) -> Finding | None:
    """Nearly the whole gradient is clipped away, step after step, and too little is learned."""
    uses = readings.watched.uses
    if readings.trains_well or not uses or is_scale_free(readings.optimizer):
        return None
    if readings.watched.is_cleared:
        return None
    kept = median(use.ratio for use in uses)
    if kept > CLIPPED:
        return None
    norm = median(use.fresh for use in uses)
    return Finding(
        Ailment.CLIPPING,
        f"The gradient is clipped too low: in the median step {kept:.2g} of its norm of {norm:.3g} "
        f"is left, so that the training goes {1 / max(kept, 1e-12):.3g} times slower than its "
        f"learning rate says. Clip at the norms that are usual, {norm:.2g}, or higher.",
        (),
        {"share of the gradient's norm that is left, median": kept, "its norm, median": norm},
        f"clipping leaves {CLIPPED:.0%} of the gradient's norm or less in the median step, the "
        f"optimizer does not divide by the gradient's size, and {NOT_WELL}",
        CLIPPED / max(kept, 1e-12),
        readings.num_seen,
    )


def is_scale_free(optimizer: torch.optim.Optimizer) -> bool:
    """Whether the gradient's size makes no difference to the step."""
    return isinstance(optimizer, SCALE_FREE)


def weight_decay(readings: Readings) -> Finding | None:
    """The pull to zero is stronger than the gradient, and too little is learned."""
    decay = None if readings.trains_well else _decay(readings)
    if decay is None or not (decay.outweighs or decay.norm < exp(-2) or decay.forgets):
        return None
    how = "outweighs the gradient"
    if decay.forgets and decay.ratio <= 1:
        how = f"lets the weights forget in {decay.lasts:.3g} steps what they have learned"
    return Finding(
        Ailment.WEIGHT_DECAY,
        f"Weight decay {decay.rate:g} {how}: its pull is {decay.ratio:.3g} times "
        f"the gradient in the median step, and the weights have shrunk to {decay.norm:.2g} of what "
        f"they were.",
        (),
        decay.evidence,
        f"the pull of weight decay is larger than the gradient in the median of the later steps "
        f"(or the weights shrink below e⁻²; or it is more than {PULLS:.0%} of the gradient and by "
        f"itself shrinks them to e⁻¹ in fewer than {FORGOTTEN:g} steps), it matters within the "
        f"training, and {NOT_WELL}",
        max(decay.ratio, decay.shrinking / 3, 1.0),
        readings.num_seen,
    )


def perhaps_weight_decay(readings: Readings) -> Finding | None:
    """The pull to zero is a good part of the gradient, which may be why too little is learned.

    Or in a training that learns well, weights keep for few steps what they learn.
    """
    decay = None if readings.is_early else _decay(readings)
    if decay is None:
        return None
    if decay.lasts > KEPT if readings.trains_well else decay.ratio < PULLS:
        return None
    return Finding(
        Ailment.WEIGHT_DECAY,
        f"Weight decay {decay.rate:g} holds the weights back: its pull is {decay.ratio:.3g} times "
        f"the gradient in the median step, and without it more is learned.",
        (),
        decay.evidence,
        f"the pull of weight decay is more than {PULLS:.0%} of the gradient in the median of the "
        f"later steps, it matters within the training, {NOT_WELL}, or by itself shrinks weights "
        f"to e⁻¹ in {KEPT:g} steps or fewer, and nothing else is found; it counts only where the "
        f"training is proved to do better without",
        max(decay.ratio / PULLS, 1.0),
        readings.num_seen,
        needs_proof=True,
    )


@dataclass(frozen=True)
class _Decay:
    """What weight decay does to a training that it matters to.

    Args:
        rate: weight decay, of the group where it is strongest.
        ratio: its pull over the gradient, in the median of the later steps.
        shrinking: by how many e-folds it alone shrinks weights over the watched training.
        lasts: steps in which it alone shrinks weights to e⁻¹.
        outweighs: whether it is stronger than the gradient.
        norm: of the weights, after over before.
    """

    rate: float
    ratio: float
    shrinking: float
    lasts: float
    outweighs: bool
    norm: float

    @property
    def forgets(self) -> bool:
        """Whether weights keep little of what they learn, which holds the gradient up, too."""
        return self.lasts < FORGOTTEN and self.ratio > PULLS

    @property
    def evidence(self) -> dict[str, float]:
        """The numbers, by what they are."""
        return {
            "weight decay": self.rate,
            "its pull over the gradient, median": self.ratio,
            "norm of the weights after over before": self.norm,
        }


def _decay(readings: Readings) -> _Decay | None:
    """None where it does nothing within the training."""
    watched, group = readings.watched, readings.optimizer.param_groups[0]
    rate = max(float(g.get("weight_decay", 0) or 0) for g in readings.optimizer.param_groups)
    own = readings.own_step
    pull = 0.0 if own is None else own.pull
    rate += pull
    if not rate or not watched.uses or watched.failure:
        return None
    lr = float(group["lr"]) / max(1 - float(group.get("momentum", 0) or 0), 1e-3)
    is_decoupled = isinstance(readings.optimizer, DECOUPLED) or group.get("decoupled_weight_decay")
    # Adam and its like divide the pull by the gradient's size as well, and move about lr a step.
    is_divided = is_scale_free(readings.optimizer) and (not is_decoupled or pull > 0)
    shrinking = lr * rate * watched.num_steps
    if not (shrinking > SHRUNK or is_divided):
        return None
    late = watched.uses[len(watched.uses) // 2 :]
    ratio = median(use.decay for use in late)
    # Weights on which decay acts as strongly as the gradient are held where both cancel.
    outweighs = ratio > 1 if not is_decoupled or pull > 0 else shrinking > 3
    lasts = inf if is_divided else 1 / max(lr * rate, 1e-12)
    return _Decay(rate, ratio, shrinking, lasts, outweighs, _shrunk_to(readings))


def _shrunk_to(readings: Readings) -> float:
    before = dict(readings.problem.model.named_parameters())
    first = last = 0.0
    for name, after in readings.watched.problem.model.named_parameters():
        if after.ndim > 1 and name in before:
            first += float(before[name].detach().double().square().sum())
            last += float(after.detach().double().square().sum())
    return (last / first) ** 0.5 if first else 1.0
