"""Output and loss brought together: a last activation taken out, or the loss made for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg._loss import Kind, known_loss, logits_of
from thalweg._problem import Problem
from thalweg.doctor._changed_data import targets_of
from thalweg.doctor._readings import Readings
from thalweg.doctor.findings._reduction import exponent_of
from thalweg.doctor.remedies._last_activation import last_activation_of
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy, joined
from thalweg.doctor.remedies._targets import standardised_targets

LOGITS: dict[Any, Any] = {
    F.binary_cross_entropy: F.binary_cross_entropy_with_logits,
    nn.BCELoss: nn.BCEWithLogitsLoss,
    F.nll_loss: F.cross_entropy,
    nn.NLLLoss: nn.CrossEntropyLoss,
}
"""The loss of the raw output, by the one that wants it squashed."""


OFF_SCALE = 3.0
"""Targets whose root mean square or spread is this many times from one are at another scale."""


def without_last_activation(readings: Readings) -> Remedy | NotApplicable:
    """Takes out the activation behind the last layer."""
    name = "the last activation taken out"
    found = last_activation_of(readings.problem)
    if found is None:
        return NotApplicable(name, "no module of an activation stands behind the last layer")
    kind = type(readings.problem.model.get_submodule(found.name)).__name__

    def apply(problem: Problem, _: Any) -> Problem:
        found.taken_out(problem.model)
        return problem

    return Remedy(
        f"{name} ({kind})",
        f'model.set_submodule("{found.name}", nn.Identity())  # instead of nn.{kind}'
        if found.num_calls == 1
        else f"# leave the last {found.name} out of forward: its input is the output",
        apply,
        changes_loss=True,
        is_direct=True,
    )


def unbounded_on_standard_targets(readings: Readings) -> Remedy | NotApplicable:
    """The last activation taken out, and targets standardised that are at another scale.

    Outputs about one would meet targets that are not: what the activation hid.
    """
    remedy, scaled = without_last_activation(readings), standardised_targets(readings)
    y = targets_of(readings.problem)
    if isinstance(remedy, NotApplicable):
        return remedy
    if isinstance(scaled, NotApplicable) or y is None:
        return NotApplicable(f"{remedy.name}, {scaled.name}", "the targets are no values")
    finite = y[y.reshape(len(y), -1).isfinite().all(1)]
    scales = (float(finite.square().mean().sqrt()), float(finite.std()))
    if all(1 / OFF_SCALE < scale < OFF_SCALE for scale in scales):
        return NotApplicable(f"{remedy.name}, {scaled.name}", "the targets are about one in size")
    return joined(remedy, scaled)


def loss_of_logits(readings: Readings) -> Remedy | NotApplicable:
    """The loss that takes raw outputs, in place of the one that takes probabilities."""
    name = "the loss of logits"
    problem = readings.problem
    known = known_loss(problem.loss)
    if known is None or known.kind not in (Kind.BINARY, Kind.LOG_CLASSES):
        return NotApplicable(name, "the loss takes logits already, or is not one of torch's")
    if problem.step is not None:
        return NotApplicable(name, "the step of your own calls its loss itself")
    if last_activation_of(problem) is not None:
        return NotApplicable(name, "the network ends in an activation, which would be in its way")
    loss, code = _of_logits(problem.loss)
    return Remedy(
        f"{name}, {code}",
        f"loss = {code}",
        lambda problem, _: replace(problem, loss=loss),
        changes_loss=True,
        is_direct=True,
    )


def squashed(readings: Readings) -> Remedy | NotApplicable:
    """The activation that the loss expects behind the network, where the loss cannot be exchanged.

    The loss of logits is more exact; but a step of one's own can be given no other loss, and of a
    loss of one's own none is known.
    """
    name = "the missing activation behind the network"
    problem = readings.problem
    if readings.observed is None or (problem.step is None and not readings.head.missing):
        return NotApplicable(name, "the loss of logits does that, and more exactly")
    head = readings.head
    if head.final or len(head.output_shape) < 2:
        return NotApplicable(name, "the network ends in an activation already")
    by_kind = {Kind.BINARY: nn.Sigmoid(), Kind.LOG_CLASSES: nn.LogSoftmax(1)}
    by_name = {"sigmoid": nn.Sigmoid(), "softmax": nn.Softmax(1)}
    missing = by_name.get(head.missing) if head.kind is None else by_kind.get(head.kind)
    if missing is None:
        return NotApplicable(name, "the loss takes raw outputs")
    return Remedy(
        f"{name} ({type(missing).__name__})",
        f"model = nn.Sequential(model, nn.{missing})",
        lambda problem, _: problem.with_model(nn.Sequential(problem.model, missing)),
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


def per_sample(readings: Readings) -> Remedy | NotApplicable:
    """A loss of one's own times or over the number of samples, so that it does not go by that."""
    name = "the loss times a power of the number of samples"
    problem = readings.problem
    loss = problem.loss
    if loss is None or not problem.loss_takes_target:
        return NotApplicable(name, "the loss does not see the targets, and so not their number")
    if problem.step is not None:
        return NotApplicable(name, "the step of your own calls its loss itself")
    known = known_loss(loss)
    if known is not None and known.reduction == "sum":
        return NotApplicable(name, "the loss is a sum of torch's own, of which it has the mean")
    exponent = exponent_of(problem)
    power = 0 if exponent is None else -round(exponent)
    if not power:
        return NotApplicable(name, "the loss does not grow or fall with the number of samples")

    def mended(output: Any, target: Any) -> Any:
        return loss(output, target) * float(len(target)) ** power

    by = {1: "* len(target)", -1: "/ len(target)"}.get(power, f"* len(target) ** {power}")
    return Remedy(
        "the loss divided by the number of samples" if power < 0 else
        "the loss no longer divided by the number of samples twice",
        f"loss = lambda output, target: old_loss(output, target) {by}",
        lambda problem, _: replace(problem, loss=mended),
        changes_loss=True,
        is_direct=True,
    )  # fmt: skip


LEAST = 1e-30
"""Probabilities are taken to be this at least, above what float32 calls zero."""


def undone(readings: Readings) -> Remedy | NotApplicable:
    """The inverse of the last squash before the loss, where it stands in the forward pass itself.

    Cross-entropy takes its softmax of logits, and softmax(log p) = p; σ(log p − log(1 − p)) = p. So
    what follows is the loss of the network without its own last squash.
    """
    name = "the last squash undone before the loss"
    problem = readings.problem
    loss = problem.loss
    if loss is None or not problem.loss_takes_target or readings.observed is None:
        return NotApplicable(name, "the loss does not see output and target")
    if problem.step is not None:
        return NotApplicable(name, "the step of your own calls its loss itself")
    if last_activation_of(problem) is not None:
        return NotApplicable(name, "the network ends in a module that can be taken out")
    squash = UNDONE.get((readings.head.kind, readings.head.final))
    if squash is None:
        return NotApplicable(name, "the network does not end in a squash that the loss takes again")
    inverse, code = squash

    def mended(output: Any, target: Any) -> Any:
        return loss(inverse(logits_of(output)), target)

    return Remedy(
        f"{name} ({readings.head.final})",
        f"# better: leave the {readings.head.final} out of forward; else\n"
        f"loss = lambda output, target: old_loss({code}, target)",
        lambda problem, _: replace(problem, loss=mended),
        changes_loss=True,
        is_direct=True,
    )


def _log(p: Tensor) -> Tensor:
    return p.clamp_min(LEAST).log()


def _logit(p: Tensor) -> Tensor:
    return torch.logit(p, torch.finfo(p.dtype).eps)


UNDONE: dict[tuple[Kind | None, str], tuple[Callable[[Tensor], Tensor], str]] = {
    (Kind.CLASSES, "softmax"): (_log, f"output.clamp_min({LEAST:g}).log()"),
    (Kind.LOG_CLASSES, "softmax"): (_log, f"output.clamp_min({LEAST:g}).log()"),
    (Kind.CLASSES, "sigmoid"): (_logit, "torch.logit(output, 1e-7)"),
    (Kind.BINARY_LOGITS, "sigmoid"): (_logit, "torch.logit(output, 1e-7)"),
}
"""By loss and last squash: its inverse, and that as code."""


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
