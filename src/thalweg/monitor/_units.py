"""Units that learn nothing from the batch: dead ones, and saturated ones."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.monitor._instrument import ForwardHook
from thalweg.monitor._moment import Moment

LASTING = 8
"""Readings in a row over which a unit is watched."""

LAYERS = (nn.Linear, nn.modules.conv._ConvNd)

_MAX_SLOPE = {nn.Sigmoid: 0.25, nn.Tanh: 1.0}
"""Where φ' follows from the output; units of ReLU show as dead."""

SATURATED_BELOW = 0.01
"""A unit is saturated where |φ'| is under this share of its maximum."""


class Units:
    """Shares of units that pass no gradient on, by layer.

    `dead/layer`: units (channels) of a dense or convolutional layer whose weights had a gradient
    of exactly zero at each of the last eight readings, on other batches each time; known from the
    eighth on. `saturated/module`: entries of the output of a Sigmoid or Tanh module at which φ' is
    under 1 % of its maximum.

    Layers without any gradient at all are left out: that is not their units' doing. Activations
    that are functions and not modules show as dead units only.

    Cost: reads every gradient once, and the outputs of the activation modules.
    """

    name, guess, is_paired, needs_before = "units", 0.0, False, False

    def __init__(self) -> None:
        self._still: dict[str, deque[Tensor]] = {}
        self._shares: dict[str, Tensor] = {}

    def hooks(self, model: nn.Module) -> list[tuple[nn.Module, ForwardHook]]:
        """Watches the outputs of sigmoids and hyperbolic tangents."""
        self._shares = {}
        return [
            (module, self._watch(name or "model"))
            for name, module in model.named_modules()
            if type(module) in _MAX_SLOPE
        ]

    def _watch(self, name: str) -> ForwardHook:
        def hook(module: nn.Module, _: Any, output: Any) -> None:
            if torch.is_grad_enabled() and isinstance(output, Tensor):
                out = output.detach()
                slope = 1 - out**2 if isinstance(module, nn.Tanh) else 4 * out * (1 - out)
                self._shares[name] = (slope < SATURATED_BELOW).float().mean()

        return hook

    def read(self, moment: Moment) -> Mapping[str, float]:
        """The shares at this step."""
        found: dict[str, Tensor] = {}
        for name, module in moment.model.named_modules():
            key = f"{name}.weight" if name else "weight"
            gradient = moment.gradients.get(key)
            if not isinstance(module, LAYERS) or gradient is None or gradient.is_sparse:
                continue
            still = _still(module, gradient)
            if bool(still.all()):
                self._still.pop(name, None)  # the whole layer gets nothing: not its units' fault
                continue
            kept = self._still.setdefault(name, deque(maxlen=LASTING))
            kept.append(still)
            if len(kept) == LASTING:
                lasting = torch.stack([mask.to(still.device) for mask in kept]).all(0)
                found[f"dead/{name or 'model'}"] = lasting.float().mean()
        found |= {f"saturated/{name}": share for name, share in self._shares.items()}
        return {name: float(share) for name, share in found.items()}


def _still(module: nn.Module, gradient: Tensor) -> Tensor:
    """Which units of a layer have no gradient, as a mask."""
    if getattr(module, "transposed", False):
        gradient = gradient.transpose(0, 1)
    rows = gradient.reshape(gradient.shape[0], prod(gradient.shape[1:]))
    return ~rows.any(dim=1)
