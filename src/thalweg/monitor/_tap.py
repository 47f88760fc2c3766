"""Tap: the norms of gradients as the backward pass leaves them, before anybody clips them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import frexp, hypot, isfinite
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.monitor._moment import dense


class Tap:
    """Watches the backward passes of one step; with accumulation the last one counts.

    Args:
        parameters: by name.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter]) -> None:
        self._norms: dict[str, Tensor] = {}
        self._parameters = parameters

    def hooks(self) -> list[tuple[nn.Parameter, Callable[[Tensor], None]]]:
        """What is to be called when a parameter's gradient has been accumulated."""
        return [
            (parameter, self._watch(name))
            for name, parameter in self._parameters.items()
            if parameter.requires_grad and parameter.is_leaf
        ]

    def _watch(self, name: str) -> Callable[[Tensor], None]:
        def hook(parameter: Tensor) -> None:
            if parameter.grad is not None:
                gradient = dense(parameter.grad.detach())
                wide = gradient.float() if gradient.dtype.itemsize < 4 else gradient
                self._norms[name] = torch.linalg.vector_norm(wide)

        return hook

    def unclipped(
        self, given: Mapping[str, float], scaler: Any, has_autocast: bool
    ) -> dict[str, float] | None:
        """The norms before clipping, without the scale of a GradScaler; None where unknown.

        Args:
            given: the norms that the optimizer was given.
            scaler: the GradScaler in use, if it is known.
            has_autocast: whether the forward pass ran under autocast.
        """
        if not self._norms or set(self._norms) != set(given):
            return None
        tapped = {name: float(norm) for name, norm in self._norms.items()}
        whole, clipped = hypot(*tapped.values()), hypot(*given.values())
        if not (isfinite(whole) and isfinite(clipped) and whole > 0):
            return None
        if scaler is not None:
            scale = float(scaler.get_scale())
            return {name: norm / scale for name, norm in tapped.items()}
        ratio = clipped / whole
        if abs(ratio - 1) < 1e-4:
            return tapped
        mantissa, _ = frexp(ratio)
        if abs(mantissa - 0.5) < 1e-4 or abs(mantissa - 1) < 1e-4:
            return dict(given)  # a power of two: the scale of a GradScaler, and no clipping
        # Scale and clipping together cannot be told apart.
        return None if has_autocast else tapped
