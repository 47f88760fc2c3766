"""The training step: gradients zeroed, clipping taken off, other minibatches, the right mode."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from thalweg._problem import TrainingStep
from thalweg._training import leaves_one
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

USUAL_SIZE = 32
"""Samples of a minibatch where one was too few."""

LEAST_SIZE, FEW_STEPS = 8, 300
"""It is halved, down to 8, while the epochs that were named would leave fewer steps than these."""


def zeroed(readings: Readings) -> Remedy | NotApplicable:
    """zero_grad() at the begin of every step."""
    name = "optimizer.zero_grad() in every step"
    step = readings.problem.step
    if step is None:
        return NotApplicable(name, "the usual step does that already")
    return Remedy(
        name,
        "optimizer.zero_grad()  # before loss.backward()",
        lambda problem, _: replace(problem, step=_zeroing(step)),
        is_direct=True,
    )


def _zeroing(step: TrainingStep) -> TrainingStep:
    def zeroing(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> Any:
        optimizer.zero_grad()
        return step(model, batch, optimizer)

    return zeroing


def usual_step(readings: Readings) -> Remedy | NotApplicable:
    """The usual step in place of one's own, which takes no gradient, another one, or no step."""
    name = "the usual step in place of your own"
    problem, seen = readings.problem, readings.observed
    if problem.step is None or seen is None:
        return NotApplicable(name, "the step is the usual one")
    if problem.loss is None or not problem.loss_takes_target:
        return NotApplicable(name, "no loss is known that it could take")
    is_another = seen.own_step is not None and seen.own_step.is_another
    trains = seen.watched.num_optimizer_steps and seen.watched.arrived
    if trains and not (is_another or seen.watched.is_cleared):
        return NotApplicable(name, "your own uses the gradient of the loss, and steps")
    return Remedy(
        name,
        "optimizer.zero_grad()\nloss(model(x), y).backward()\noptimizer.step()",
        lambda problem, _: replace(problem, step=None),
        is_direct=True,
    )


def unclipped(readings: Readings) -> Remedy | NotApplicable:
    """No clipping."""
    name = "no clipping"
    if readings.problem.clip_norm is None:
        return NotApplicable(name, "nothing is clipped, or in a step of your own")
    return Remedy(
        name,
        "# torch.nn.utils.clip_grad_norm_(...) taken out",
        lambda problem, _: replace(problem, clip_norm=None),
        is_direct=True,
    )


def clipped_at_usual(readings: Readings) -> Remedy | NotApplicable:
    """Clipping at norm one, for gradients that explode now and then."""
    name = "gradient clipped at norm 1"
    if readings.problem.step is not None:
        return NotApplicable(name, "the step is your own")
    if readings.problem.clip_norm is not None and readings.problem.clip_norm <= 1:
        return NotApplicable(name, "it is clipped already")
    return Remedy(
        name,
        "torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # before optimizer.step()",
        lambda problem, _: replace(problem, clip_norm=1.0),
    )


def no_single_left(readings: Readings) -> Remedy | NotApplicable:
    """Minibatches that leave no single sample over at the end of an epoch."""
    size, number = readings.plan.batch_size, readings.problem.num_samples
    if not leaves_one(number, size):
        return NotApplicable("minibatches of another size", "no single sample is left over")
    other = _without_single(number, size)
    return Remedy(
        f"minibatches of {other}",
        f"loader = DataLoader(data, batch_size={size}, shuffle=True, drop_last=True)  # or "
        f"batch_size={other}",
        lambda problem, _: replace(problem, batch_size=other),
        changes_step=True,
        is_direct=True,
    )


def larger_batches(readings: Readings) -> Remedy | NotApplicable:
    """Minibatches of 32, or fewer where a training is short; or eight times larger."""
    size, own = _usual(readings), readings.plan.batch_size
    size = max(size, 8 * own if own > 8 else 0)
    # A last minibatch of one sample is what batch normalisation cannot take.
    size = _without_single(readings.problem.num_samples, size)
    name = f"minibatches of {size}"
    if readings.problem.num_samples < 2 * size:
        return NotApplicable(name, f"there are {readings.problem.num_samples} samples only")
    return Remedy(
        name,
        f"loader = DataLoader(data, batch_size={size}, shuffle=True)  # was "
        f"{readings.plan.batch_size}",
        lambda problem, _: replace(problem, batch_size=size),
        changes_step=True,
        is_direct=True,
    )


def _without_single(number: int, size: int) -> int:
    """The size, or the next larger one that leaves no single sample of so many over."""
    while leaves_one(number, size):
        size += 1
    return size


def _usual(readings: Readings) -> int:
    size, problem = USUAL_SIZE, readings.problem
    if problem.epochs is None:
        return size
    while size > LEAST_SIZE and problem.epochs * problem.num_samples < FEW_STEPS * size:
        size //= 2
    return size


def in_training_mode(readings: Readings) -> Remedy | NotApplicable:
    """model.train() before the training."""
    name = "trained in training mode"
    step, seen = readings.problem.step, readings.observed
    if readings.problem.mode and step is not None and seen is not None and seen.watched.in_eval:
        return Remedy(
            f"{name}, in every step",
            "# model.eval() taken out of the step: it belongs to the evaluation",
            lambda problem, _: replace(problem, step=_training(step)),
            is_direct=True,
        )
    if readings.problem.mode:
        return NotApplicable(name, "it is trained so already")
    return Remedy(
        name,
        "model.train()  # before the training, and after every evaluation",
        lambda problem, _: replace(problem, mode=True),
        is_direct=True,
    )


def _training(step: TrainingStep) -> TrainingStep:
    """The step, in which the mode stays that of training, whatever it asks for."""

    def training(model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> Any:
        model.train()
        held: dict[str, Any] = vars(model)
        held["train"] = lambda mode=True: model
        held["eval"] = lambda: model
        try:
            return step(model, batch, optimizer)
        finally:
            del held["train"], held["eval"]

    return training


def layer_norm(readings: Readings) -> Remedy | NotApplicable:
    """Layer normalisation in place of batch normalisation of dense layers."""
    name = "layer normalisation in place of batch normalisation"
    norms = {
        n: m for n, m in readings.problem.model.named_modules()
        if isinstance(m, nn.BatchNorm1d) and isinstance(m, _BatchNorm)
    }  # fmt: skip
    if not norms:
        return NotApplicable(name, "there is no batch normalisation of dense layers")

    def apply(problem: Any, _: torch.Generator) -> Any:
        for each, norm in norms.items():
            like = norm.running_mean if norm.weight is None else norm.weight
            new = nn.LayerNorm(norm.num_features)
            problem.model.set_submodule(each, new if like is None else new.to(like))
        return problem

    lines = [
        f'model.set_submodule("{n}", nn.LayerNorm({m.num_features}))' for n, m in norms.items()
    ]
    return Remedy(name, "\n".join(lines), apply)
