"""Output and loss brought together: a last activation taken out, or the loss made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch.nn.functional as F
from torch import nn

from thalweg._loss import Kind, known_loss
from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy
from thalweg.doctor.remedies._surgery import put

SQUASHES = (
    nn.Softmax, nn.LogSoftmax, nn.Sigmoid, nn.ReLU, nn.Tanh, nn.Hardtanh, nn.Hardsigmoid,
    nn.Softplus, nn.LogSigmoid, nn.LeakyReLU, nn.ELU, nn.ReLU6, nn.Softmin,
)  # fmt: skip

LOGITS: dict[Any, Any] = {
    F.binary_cross_entropy: F.binary_cross_entropy_with_logits,
    nn.BCELoss: nn.BCEWithLogitsLoss,
    F.nll_loss: F.cross_entropy,
    nn.NLLLoss: nn.CrossEntropyLoss,
}
"""The loss of the raw output, by the one that wants it squashed."""


def without_last_activation(readings: Readings) -> Remedy | NotApplicable:
    """Takes out the activation behind the last layer."""
    name = "the last activation taken out"
    model = readings.problem.model
    found = _last_activation(model)
    if found is None:
        return NotApplicable(name, "no module of an activation stands behind the last layer")
    kind = type(model.get_submodule(found)).__name__

    def apply(problem: Problem, _: Any) -> Problem:
        put(problem.model, problem.model.get_submodule(found), nn.Identity())
        return problem

    return Remedy(
        f"{name} ({kind})",
        f'model.set_submodule("{found}", nn.Identity())  # instead of nn.{kind}',
        apply,
        changes_loss=True,
        is_direct=True,
    )


def loss_of_logits(readings: Readings) -> Remedy | NotApplicable:
    """The loss that takes raw outputs, in place of the one that takes probabilities."""
    name = "the loss of logits"
    problem = readings.problem
    known = known_loss(problem.loss)
    if known is None or known.kind not in (Kind.BINARY, Kind.LOG_CLASSES):
        return NotApplicable(name, "the loss takes logits already, or is not one of torch's")
    if problem.step is not None:
        return NotApplicable(name, "the step of your own calls its loss itself")
    if _last_activation(problem.model) is not None:
        return NotApplicable(name, "the network ends in an activation, which would be in its way")
    loss, code = _of_logits(problem.loss)
    return Remedy(
        f"{name}, {code}",
        f"loss = {code}",
        lambda problem, _: replace(problem, loss=loss),
        changes_loss=True,
        is_direct=True,
    )


def mean_reduction(readings: Readings) -> Remedy | NotApplicable:
    """The mean of the loss over its terms, in place of their sum."""
    name = "the mean of the loss"
    problem = readings.problem
    known = known_loss(problem.loss)
    if known is None or known.reduction != "sum":
        return NotApplicable(name, "the loss is a mean already, or is not one of torch's")
    if problem.step is not None:
        return NotApplicable(name, "the step of your own calls its loss itself")
    loss = _averaging(problem.loss)
    return Remedy(
        f"{name} in place of the sum",
        'loss = functools.partial(loss, reduction="mean")  # or loss.reduction = "mean"',
        lambda problem, _: replace(problem, loss=loss),
        changes_loss=True,
        is_direct=True,
    )


def _last_activation(model: nn.Module) -> str | None:
    """The name of the module that runs last, if it is an activation behind the last layer.

    Modules are registered in the order in which they run in nearly every network.
    """
    leaves = [(n, m) for n, m in model.named_modules() if n and not list(m.children())]
    for name, module in reversed(leaves):
        if isinstance(module, SQUASHES):
            return str(name)
        if not isinstance(module, nn.Identity | nn.Flatten | nn.Unflatten):
            return None
    return None


def _of_logits(loss: Any) -> tuple[Callable[..., Any], str]:
    if isinstance(loss, partial):
        inner, code = _of_logits(loss.func)
        return partial(inner, *loss.args, **loss.keywords), code
    if isinstance(loss, nn.Module):
        kind = LOGITS[type(loss)]
        settings: dict[str, Any] = {"weight": loss.weight, "reduction": loss.reduction}
        if kind is nn.CrossEntropyLoss:
            settings["ignore_index"] = loss.ignore_index
        return kind(**settings), f"nn.{kind.__name__}()"
    function = LOGITS[loss]
    return function, f"F.{function.__name__}"


def _averaging(loss: Any) -> Callable[..., Any]:
    if isinstance(loss, nn.Module):
        from copy import deepcopy

        averaging: Any = deepcopy(loss)
        averaging.reduction = "mean"
        return averaging  # type: ignore[no-any-return]
    if isinstance(loss, partial):
        return partial(loss.func, *loss.args, **{**loss.keywords, "reduction": "mean"})
    return partial(loss, reduction="mean")
