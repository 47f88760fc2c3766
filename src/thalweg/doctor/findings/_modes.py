"""Batch normalisation and dropout: in the wrong mode, over one sample, or too much of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from thalweg._batch import num_samples, take
from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg._recipe import set_mode
from thalweg._training import leaves_one
from thalweg.doctor._finding import Ailment, Finding
from thalweg.doctor._readings import NOT_WELL, Readings

MUCH = 0.7
"""Dropout is much from this rate on."""

MOST_DROPPED = 0.8
"""And from this one on it is doubted in a training that learns well."""


def wrong_mode(readings: Readings) -> Finding | None:
    """Normalisation or dropout that is trained as if it were evaluated, undeclared."""
    problem = readings.problem
    names = tuple(
        name
        for name, module in problem.model.named_modules()
        if name in readings.watched.in_eval
        and not problem.is_on_purpose(name)
        and (isinstance(module, _BatchNorm) or getattr(module, "p", 1) > 0)
    )
    if not names or (
        readings.may_train_well and readings.generalises and not _has_norm(names, problem)
    ):
        # Units that are not dropped harm nobody where what was not seen is answered, too.
        return _always_dropping(readings)
    kinds = sorted({type(problem.model.get_submodule(name)).__name__ for name in names})
    return Finding(
        Ailment.WRONG_MODE,
        f"The network is trained in evaluation mode: {len(names)} module(s) ({', '.join(kinds)}), "
        f"first {names[0]!r}, keep their running statistics and drop nothing. Call model.train() "
        f"before the steps, or declare it: Problem(..., on_purpose=({names[0]!r},)).",
        names,
        {"modules in evaluation mode": float(len(names)),
         "of those that ran": float(len(readings.watched.ran))},
        f"a module of batch normalisation runs in evaluation mode in a training step; or one of "
        f"dropout, where {NOT_WELL}, or of what was held out",
        1 + len(names) / max(len(readings.watched.ran), 1),
        1,
    )  # fmt: skip


def _has_norm(names: tuple[str, ...], problem: Problem) -> bool:
    """Whether any of them is batch normalisation."""
    return any(isinstance(problem.model.get_submodule(name), _BatchNorm) for name in names)


def _always_dropping(readings: Readings) -> Finding | None:
    """Dropout that is not turned off in evaluation, since nobody tells it the mode."""
    problem = readings.problem
    rates = {n: p for n, p in readings.dropped.items() if not problem.is_on_purpose(n)}
    if not rates:
        return None
    first = next(iter(rates))
    where = (
        f"the forward of {first!r}" if first else f"the forward of {type(problem.model).__name__}"
    )
    return Finding(
        Ailment.WRONG_MODE,
        f"Units are dropped in evaluation mode as well: {where} drops {rates[first]:g} of them "
        f"whatever the mode, so that the same input gets two answers. Tell it: F.dropout(x, p, "
        f"training=self.training), and dropout_p=p if self.training else 0.0.",
        tuple(name for name in rates if name),
        {f"dropped in evaluation in {name or 'the model'}": p for name, p in rates.items()},
        "a function that drops units is called with a rate above zero in evaluation mode; and it "
        "is not declared on purpose",
        1 + max(rates.values()),
        0,
    )


def batch_of_one(readings: Readings) -> Finding | None:
    """Batch normalisation over a single sample: its variance is zero, its output the bias."""
    problem = readings.problem
    names = tuple(
        name
        for name, module in problem.model.named_modules()
        if isinstance(module, _BatchNorm) and not problem.is_on_purpose(name)
    )
    size = problem.batch_size or max(num_samples(batch) for batch in problem.batches)
    is_in_eval = set(names) <= readings.watched.in_eval
    is_refused = "more than 1 value per channel" in readings.watched.failure
    if not names or is_in_eval or not (size == 1 or is_refused):
        return None
    return Finding(
        Ailment.BATCH_OF_ONE,
        f"{len(names)} layer(s) of batch normalisation, first {names[0]!r}, take their statistics "
        f"over a single sample, whose distance from its own mean is zero: what the sample says is "
        f"lost. Use larger minibatches, or layer or group normalisation.",
        names,
        {"samples of a minibatch": float(size), "layers": float(len(names))},
        "a layer of batch normalisation trains on minibatches of one sample",
        2.0,
        0,
    )


def perhaps_batch_of_one(readings: Readings) -> Finding | None:
    """An epoch ends with a single sample that batch normalisation refuses: the loop breaks off.

    Not one that drops it; so it counts only where the training breaks off by it. Cost: a forward
    pass of that sample.
    """
    problem, size = readings.problem, readings.plan.batch_size
    if readings.watched.failure or not leaves_one(problem.num_samples, size):
        return None
    refusing = _refusing_one(problem)
    if refusing is None:
        return None
    return Finding(
        Ailment.BATCH_OF_ONE,
        f"An epoch of {problem.num_samples:,} samples in minibatches of {size} ends with a single "
        f"one, which batch normalisation, {refusing!r}, refuses in training mode: there the loop "
        f"breaks off, unless it drops what is left over. Use DataLoader(..., drop_last=True), or "
        f"minibatches of another size; or declare it: Problem(..., on_purpose=({refusing!r},)).",
        (refusing,),
        {"samples": float(problem.num_samples), "samples of a minibatch": float(size)},
        "the samples of an epoch leave one over after the last whole minibatch, a forward pass of "
        "one sample in training mode is refused, and nothing else is found",
        2.0,
        0,
        needs_proof=True,
    )


def _refusing_one(problem: Problem) -> str | None:
    """The layer of batch normalisation that refuses a single sample, None where none does."""
    problem = problem.copied()
    set_mode(problem)
    refused: list[str] = []

    def looking_at(name: str) -> Callable[[nn.Module, tuple[Any, ...]], None]:
        def look(module: nn.Module, given: tuple[Any, ...]) -> None:
            if module.training and given[0].numel() == given[0].shape[1]:
                refused.append(name)

        return look

    for name, module in problem.model.named_modules():
        if isinstance(module, _BatchNorm) and not problem.is_on_purpose(name):
            module.register_forward_pre_hook(looking_at(name))
    try:
        with reading(), torch.no_grad():
            problem.evaluate(problem.model, take(problem.batches[0], slice(1)))
    except (ThalwegError, RuntimeError, ValueError):
        return refused[0] if refused else None
    return None


def too_much_dropout(readings: Readings) -> Finding | None:
    """So many units are dropped that too little of the signal is left to learn by."""
    return None if readings.trains_well_in_training else _dropping(readings, MUCH)


def perhaps_too_much_dropout(readings: Readings) -> Finding | None:
    """Of a training that learns well all the same: most of what it could is left to few units."""
    if readings.is_early or readings.watched.failure:
        return None
    found = _dropping(readings, MOST_DROPPED)
    return None if found is None else replace(found, needs_proof=True)


def _dropping(readings: Readings, rate: float) -> Finding | None:
    """The modules that drop units at that rate or more."""
    if readings.watched.error is not None:
        return None
    rates: dict[str, float] = {}
    for name, module in readings.problem.model.named_modules():
        if isinstance(module, _DropoutNd):
            rates[name] = module.p
        elif isinstance(module, nn.RNNBase | nn.MultiheadAttention):
            rates[name] = float(module.dropout)
    worst = {name: p for name, p in rates.items() if p >= rate}
    if not worst or readings.problem.mode is False:
        return None
    p = max(worst.values())
    return Finding(
        Ailment.DROPOUT,
        f"Dropout is too much: p = {p:g} in {', '.join(map(repr, worst))} leaves {1 - p:.2g} of "
        f"the units, and the training loss ends at {readings.end:.4g} (in evaluation mode "
        f"{readings.settled:.4g}).",
        tuple(worst),
        {**{f"p of {name}": p for name, p in worst.items()},
         "training loss at the end": readings.end,
         "loss in evaluation mode at the end": readings.settled},
        f"a dropout rate is {MUCH:g} or more, and with its units dropped {NOT_WELL}; from "
        f"{MOST_DROPPED:g} on it counts where less is proved to do better, and nothing else is "
        f"found",
        p / MUCH,
        readings.num_seen,
    )  # fmt: skip
