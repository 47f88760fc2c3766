"""What is known about a loss: its kind, its reduction, and how many terms its mean runs over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from thalweg._errors import ProblemError


class Kind(Enum):
    """The families of losses whose structure is known."""

    CLASSES = "cross-entropy over classes, from logits"
    LOG_CLASSES = "negative log-likelihood over classes, from log-probabilities"
    SQUARED = "mean of squares"
    BINARY = "binary cross-entropy, from probabilities"
    BINARY_LOGITS = "binary cross-entropy, from logits"
    ELEMENTWISE = "elementwise"


# What each target was last found right for; forgotten with the target.
_LOOKED_AT = WeakTensorKeyDictionary()

_KINDS: dict[Any, Kind] = {
    nn.CrossEntropyLoss: Kind.CLASSES,
    F.cross_entropy: Kind.CLASSES,
    nn.NLLLoss: Kind.LOG_CLASSES,
    F.nll_loss: Kind.LOG_CLASSES,
    nn.MSELoss: Kind.SQUARED,
    F.mse_loss: Kind.SQUARED,
    nn.BCELoss: Kind.BINARY,
    F.binary_cross_entropy: Kind.BINARY,
    nn.BCEWithLogitsLoss: Kind.BINARY_LOGITS,
    F.binary_cross_entropy_with_logits: Kind.BINARY_LOGITS,
    nn.L1Loss: Kind.ELEMENTWISE,
    F.l1_loss: Kind.ELEMENTWISE,
    nn.SmoothL1Loss: Kind.ELEMENTWISE,
    F.smooth_l1_loss: Kind.ELEMENTWISE,
    nn.HuberLoss: Kind.ELEMENTWISE,
    F.huber_loss: Kind.ELEMENTWISE,
}


@dataclass(frozen=True)
class KnownLoss:
    """A loss of torch's own, recognised by its type.

    Args:
        kind: its family.
        reduction: "mean", "sum" or "none".
        weight: class weights (CLASSES, LOG_CLASSES) or term weights, None where there are none.
        ignore_index: the class that counts as padding.
        label_smoothing: of cross-entropy.
        is_rescaled: whether term or positive-class weights change the likelihood.
    """

    kind: Kind
    reduction: str
    weight: Tensor | None
    ignore_index: int
    label_smoothing: float
    is_rescaled: bool

    def num_terms(self, output: Any, target: Any) -> float:
        """Over how many terms the loss takes its mean: weighted targets, or elements."""
        if self.kind not in (Kind.CLASSES, Kind.LOG_CLASSES):
            return float(output.numel())
        if target.is_floating_point():
            return float(target.numel() / output.shape[_class_axis(output)])
        counted = target[target != self.ignore_index]
        if self.weight is None:
            return float(counted.numel())
        return float(self.weight.to(torch.float64)[counted].sum())

    def check_target(self, output: Tensor, target: Any, where: str) -> None:
        """Refuses a target that the loss cannot mean.

        Raises:
            ProblemError: names the range that is allowed and the one that was found; or the shapes
                that would be broadcast, every sample against every other.
        """
        if not isinstance(target, Tensor) or not target.numel():
            return
        # Once for each tensor until it is written to: on small networks it takes as long as a pass.
        looked_at = None
        if not target.is_inference():
            looked_at = self.kind, self.ignore_index, output.shape, target._version
            if _LOOKED_AT.get(target) == looked_at:
                return
        if self.kind in (Kind.SQUARED, Kind.ELEMENTWISE):
            _refuse_broadcasting(output, target, where)
        if self.kind in (Kind.CLASSES, Kind.LOG_CLASSES) and not target.is_floating_point():
            axis = _class_axis(output)
            num_classes = output.shape[axis]
            if target.shape != (*output.shape[:axis], *output.shape[axis + 1 :]):
                return  # the loss itself will refuse
            allowed, highest = f"0..{num_classes - 1}", num_classes - 1
            lowest, most = target.aminmax()
            if lowest >= 0 and most <= highest:  # asked first: picking out takes longer
                if looked_at is not None:
                    _LOOKED_AT[target] = looked_at
                return
            counted = target[target != self.ignore_index]
        elif self.kind in (Kind.BINARY, Kind.BINARY_LOGITS):
            counted, allowed, highest = target, "between 0 and 1", 1
        else:
            return
        if counted.numel() and (counted.min() < 0 or counted.max() > highest):
            raise ProblemError(
                f"target out of range in {where}: the loss allows {allowed} for an output of shape "
                f"{tuple(output.shape)}, the targets run from {counted.min().item():g} to "
                f"{counted.max().item():g}; mend the targets, or the width of the last layer"
            )
        if looked_at is not None:
            _LOOKED_AT[target] = looked_at


def _class_axis(output: Tensor) -> int:
    return 1 if output.ndim > 1 else 0


def _refuse_broadcasting(output: Tensor, target: Tensor, where: str) -> None:
    if output.shape == target.shape:
        return  # asked first: what follows takes longer than a small network
    try:
        shape = torch.broadcast_shapes(output.shape, target.shape)
    except RuntimeError:
        return  # the loss itself will refuse
    if shape != output.shape:
        raise ProblemError(
            f"in {where} the output has shape {tuple(output.shape)} and the target "
            f"{tuple(target.shape)}, which would be broadcast to {tuple(shape)}, every sample "
            f"against every other; give both one shape, for instance y.reshape(len(y), -1)"
        )


def logits_of(output: Any) -> Any:
    """What a loss reads of a model's output: `output["logits"]`, `output.logits`, or all of it."""
    if isinstance(output, Mapping) and "logits" in output:
        return output["logits"]
    return getattr(output, "logits", output)


def own_loss_of(output: Any) -> Any:
    """The loss that a model returned by itself, `output["loss"]` or `output.loss`; else None."""
    return output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)


def known_loss(loss: Callable[..., Any] | None) -> KnownLoss | None:
    """Recognises a loss module, a function of torch.nn.functional, or a partial of one."""
    settings: dict[str, Any] = {}
    while isinstance(loss, partial) and not loss.args:
        settings = {**loss.keywords, **settings}
        loss = loss.func
    # Exact types only: a subclass may have changed what forward does.
    key = type(loss) if isinstance(loss, nn.Module) else loss
    kind = _KINDS.get(key) if key is None or key.__hash__ else None
    if kind is None:
        return None

    def setting(name: str, default: Any) -> Any:
        return getattr(loss, name, settings.get(name, default))

    weight = setting("weight", None)
    return KnownLoss(
        kind=kind,
        reduction=setting("reduction", "mean"),
        weight=weight,
        ignore_index=setting("ignore_index", -100),
        label_smoothing=setting("label_smoothing", 0.0),
        is_rescaled=weight is not None or setting("pos_weight", None) is not None,
    )
