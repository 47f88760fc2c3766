"""Moment: what instruments can look at, right after a step of the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import hypot
from typing import Any

import torch
from torch import Tensor, nn

from thalweg.monitor._reader import Reader
from thalweg.surface import Point

TOTAL = ""
"""The key of a norm over all parameters, beside those of single layers."""


@dataclass(frozen=True, eq=False)
class Moment:
    """A training step that has just been taken.

    Args:
        step: its number, from 1.
        model: eager and undistributed.
        optimizer: that took it.
        parameters: those that it trains, by name, after the step.
        gradients: what it was given, by parameter name; parameters without one are left out.
        before: the parameters before the step; empty where nobody asked for them.
        value: the loss of the step [loss]; None where it was not seen.
        batch: the last one of the step; None where none was seen.
        reader: evaluates the model without touching it.
        is_glance: whether this is the step before one that is read, where only what compares two
            steps is asked.
        gradient_norms: ‖∇‖ by parameter name, as the optimizer was given it [loss/param].
        unclipped: the same before clipping; None where that is unknown.
    """

    step: int
    model: nn.Module
    optimizer: torch.optim.Optimizer
    parameters: Mapping[str, nn.Parameter]
    gradients: Mapping[str, Tensor]
    before: Mapping[str, Tensor]
    value: float | None
    batch: Any
    reader: Reader
    is_glance: bool
    gradient_norms: Mapping[str, float]
    unclipped: Mapping[str, float] | None
    _spent: list[float] = field(default_factory=list, init=False)

    def spend(self, num_gradients: float) -> None:
        """Counts what a reading cost, in gradients of a batch."""
        self._spent.append(num_gradients)

    @property
    def num_gradients(self) -> float:
        """What the readings have cost so far, in gradients of a batch."""
        return sum(self._spent)

    @cached_property
    def updates(self) -> dict[str, Tensor]:
        """Δ by parameter name [param]."""
        names = [name for name in self.parameters if name in self.before]
        after = [self.parameters[name].detach() for name in names]
        former = [self.before[name].to(p.device) for name, p in zip(names, after, strict=True)]
        return dict(zip(names, torch._foreach_sub(after, former), strict=True)) if names else {}

    @cached_property
    def point(self) -> Point:
        """Where the model is now, on the data of curvature. Cost: one gradient, counted here."""
        self.spend(1)
        return self.reader.point()

    @cached_property
    def clipping(self) -> float:
        """What clipping left of the gradient: 1 where it was not clipped, or nobody knows."""
        if self.unclipped is None:
            return 1.0
        whole = hypot(*self.unclipped.values())
        return hypot(*self.gradient_norms.values()) / whole if whole > 0 else 1.0


def norms(tensors: Mapping[str, Tensor]) -> dict[str, float]:
    """The 2-norm of each tensor, accumulated in at least float32; one wait for the device."""
    if not tensors:
        return {}
    parts = [dense(tensor) for tensor in tensors.values()]
    wide = [part.float() if part.dtype.itemsize < 4 else part for part in parts]
    found = torch._foreach_norm(wide)
    home = found[0].device
    numbers = torch.stack([norm.to(home, torch.float64) for norm in found]).tolist()
    return dict(zip(tensors, numbers, strict=True))


def dense(tensor: Tensor) -> Tensor:
    """A tensor's entries; of a sparse gradient those that it has."""
    return tensor.coalesce().values() if tensor.is_sparse else tensor


def layer_of(parameter: str) -> str:
    """The module that holds a parameter; "model" for the model itself."""
    return parameter.rpartition(".")[0] or "model"


def by_layer(of_parameters: Mapping[str, float]) -> dict[str, float]:
    """Norms by layer from norms by parameter, and under TOTAL that of all."""
    layers: dict[str, list[float]] = {}
    for name, norm in of_parameters.items():
        layers.setdefault(layer_of(name), []).append(norm)
    return {TOTAL: hypot(*of_parameters.values())} | {k: hypot(*v) for k, v in layers.items()}


def spread(name: str, values: Mapping[str, float]) -> dict[str, float]:
    """Names for what is known by layer: `name` for the whole, `name/layer` for each."""
    return {f"{name}/{layer}" if layer != TOTAL else name: v for layer, v in values.items()}


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Σ aᵢ·bᵢ over lists of tensors of equal shapes."""
    products = [
        torch.dot(dense(x).reshape(-1).float(), dense(y).reshape(-1).float().to(x.device))
        if x.dtype.itemsize < 8
        else torch.dot(dense(x).reshape(-1), dense(y).reshape(-1).to(x.device))
        for x, y in zip(a, b, strict=True)
    ]
    if not products:
        return 0.0
    home = products[0].device
    return float(torch.stack([p.to(home, torch.float64) for p in products]).sum())
