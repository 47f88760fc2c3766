"""The domain of a loss of one's own: what a raw output must go through before it is allowed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

SQUASHES: dict[str, Callable[[Tensor], Tensor]] = {
    "sigmoid": torch.sigmoid,
    "softmax": lambda output: output.softmax(1),
}
"""What makes probabilities of raw outputs (N, …), by name."""

OUTSIDE = 0.1
"""Share of the outputs outside of what probabilities are, from which on it tells that all of them
are flat."""


def squash_wanted(loss: Callable[..., Tensor], output: Tensor, target: Any) -> str:
    """The squash of `SQUASHES` that a loss wants before it; "" where it takes the output as it is.

    It is wanted where the loss or its slope is NaN or infinite, or the slope is zero at every
    output outside of [0, 1], and neither is so of the squashed output. Classes are told by a
    softmax, anything else by sigmoids.

    Args:
        loss: of which no more is known.
        output: of a network, with no squash behind it, (N, …).
        target: of the same samples.
    """
    if not output.is_floating_point() or not output.ndim or not bool(output.isfinite().all()):
        return ""
    is_classes = isinstance(target, Tensor) and not target.is_floating_point() and output.ndim > 1
    name = "softmax" if is_classes and output.shape[1] > 1 else "sigmoid"
    is_outside = (output < 0) | ((output > 1) & (name == "sigmoid"))
    slopes = _slopes(loss, output, target)
    if slopes is None or bool(is_outside.float().mean() < OUTSIDE):
        return ""
    if bool(slopes.isfinite().all()) and bool(slopes[is_outside].any()):
        return ""
    squashed = _slopes(loss, SQUASHES[name](output), target)
    if squashed is None or not bool(squashed.isfinite().all()):
        return ""
    return name if bool(squashed.any()) else ""


def is_defined(loss: Callable[..., Tensor], output: Tensor, target: Any) -> bool:
    """Whether loss and slope are finite there.

    Args:
        loss: of which no more is known.
        output: (N, …).
        target: of the same samples.
    """
    slopes = _slopes(loss, output, target)
    return slopes is not None and bool(slopes.isfinite().all())


def _slopes(loss: Callable[..., Tensor], output: Tensor, target: Any) -> Tensor | None:
    """∂ loss/∂ output, NaN where the loss is not finite; None where it is not defined at all."""
    leaf = output.detach().clone().requires_grad_()
    try:
        with torch.enable_grad():
            value = loss(leaf, target)
            (slopes,) = torch.autograd.grad(value, leaf)
    except Exception:
        # Somebody's own function, asked what it may not be made for.
        return None
    return slopes if bool(value.isfinite()) else torch.full_like(slopes, torch.nan)
