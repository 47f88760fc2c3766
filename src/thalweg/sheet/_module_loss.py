"""Loss of a module: which of torch's it is, and its steps after the output."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from thalweg._errors import FormulaError
from thalweg.sheet._draft import Draft
from thalweg.sheet._elementwise import (
    HADAMARD,
    MULTIPLY,
    SIGMOID,
)
from thalweg.sheet._follower import constant
from thalweg.sheet._losses import (
    MEAN_SQUARED_ERROR,
    SQUARED_ERROR,
    BinaryCrossEntropy,
    SoftmaxCrossEntropy,
)
from thalweg.sheet._numbers import shown
from thalweg.sheet._operation import Operation
from thalweg.sheet._reductions import Sum

Loss = Callable[..., Any] | None


def add_loss(draft: Draft, output: int, loss: Loss, target: Tensor | None) -> int:
    """Adds the loss after the output, or names the output itself where there is none.

    Args:
        draft: the steps up to the output.
        output: its place.
        loss: one of torch's.
        target: of the loss.

    Returns:
        The place of the loss.

    Raises:
        FormulaError: if the loss is not known, or does not fit.
    """
    if loss is None:
        if draft.steps[output].value.numel() != 1:
            shape = "×".join(map(str, draft.steps[output].value.shape))
            raise FormulaError(
                f"the module returns {shape} numbers; give a target and a loss: worked(module, "
                f"input, target, torch.nn.functional.mse_loss)"
            )
        if not draft.steps[output].is_named:
            draft.rename(output, "L")
        return output
    if not isinstance(target, Tensor):
        raise FormulaError("a loss needs a target: worked(module, input, target, loss)")
    kind = _kind_of(loss)
    y = _target(draft, output, kind, target.detach().cpu())
    if kind == "nll_loss":
        return _nll(draft, output, y)
    if kind == "binary_cross_entropy_with_logits":
        p = draft.apply(SIGMOID, (output,), "p")
        return draft.apply(BinaryCrossEntropy(), (p, y), "L")
    operations: dict[str, Operation] = {
        "mse_loss": MEAN_SQUARED_ERROR,
        "mse_loss, sum": SQUARED_ERROR,
        "cross_entropy": SoftmaxCrossEntropy(),
        "binary_cross_entropy": BinaryCrossEntropy(),
    }
    return draft.apply(operations[kind], (output, y), "L")


def _target(draft: Draft, place: int, kind: str, target: Tensor) -> int:
    output = draft.steps[place].value
    if kind in ("cross_entropy", "nll_loss") and not target.is_floating_point():
        classes = target.reshape(-1)
        fits = target.shape == output.shape[:-1] and output.ndim in (1, 2)
        if not fits or int(classes.min()) < 0 or int(classes.max()) >= output.shape[-1]:
            raise FormulaError(
                f"the target has shape {tuple(target.shape)} and classes up to "
                f"{int(classes.max()) if classes.numel() else '?'}; the output of shape "
                f"{tuple(output.shape)} wants {tuple(output.shape[:-1])}, from 0 to "
                f"{output.shape[-1] - 1}"
            )
        target = F.one_hot(target, output.shape[-1])
    if target.shape != output.shape:
        raise FormulaError(
            f"the target has shape {tuple(target.shape)} and the output "
            f"{tuple(output.shape)}; give them one shape"
        )
    value = target.double().detach().clone()
    return draft.give("y", value, shown(value, 6))


def _nll(draft: Draft, place: int, y: int) -> int:
    """−Σ y ⊙ a, the mean over rows."""
    output = draft.steps[place].value
    rows = output.shape[0] if output.ndim == 2 else 1
    total = draft.apply(Sum(), (draft.apply(HADAMARD, (place, y)),))
    return draft.apply(MULTIPLY, (total, constant(draft, -1 / rows)), "L")


def _kind_of(loss: Callable[..., Any]) -> str:
    """Which of the known losses it is.

    Raises:
        FormulaError: if it is none of them.
    """
    functions = {
        F.mse_loss: "mse_loss", F.cross_entropy: "cross_entropy", F.nll_loss: "nll_loss",
        F.binary_cross_entropy: "binary_cross_entropy",
        F.binary_cross_entropy_with_logits: "binary_cross_entropy_with_logits",
    }  # fmt: skip
    modules = {
        nn.MSELoss: "mse_loss", nn.CrossEntropyLoss: "cross_entropy", nn.NLLLoss: "nll_loss",
        nn.BCELoss: "binary_cross_entropy",
        nn.BCEWithLogitsLoss: "binary_cross_entropy_with_logits",
    }  # fmt: skip
    if loss in functions:
        return functions[loss]
    kind = modules.get(type(loss), "")
    is_plain = (
        getattr(loss, "weight", None) is None
        and getattr(loss, "pos_weight", None) is None
        and not getattr(loss, "label_smoothing", 0.0)
    )
    reduction = getattr(loss, "reduction", "mean")
    if kind == "mse_loss" and reduction == "sum":
        return "mse_loss, sum"
    if kind and is_plain and reduction == "mean":
        return kind
    name = getattr(loss, "__name__", type(loss).__name__)
    raise FormulaError(
        f"the loss {name} is not written out; give mse_loss, cross_entropy, nll_loss or "
        f"binary_cross_entropy(_with_logits), without weights, or a module that returns the loss "
        f"itself"
    )
