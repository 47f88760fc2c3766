"""Instruments on a training: which gradients arrive, what is used of them, modes of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

MODAL = (_BatchNorm, _DropoutNd)
"""Modules that do something else in evaluation mode."""


@dataclass(frozen=True)
class Use:
    """What an optimizer step used of the gradients that arrived.

    Args:
        fresh: norm of the gradients that arrived since the last optimizer step [loss/param].
        stale: norm of what lay in `.grad` before they arrived, though a step had used it already.
        used: norm of `.grad` when the step was taken.
        ratio: norm of `.grad` over that of all that was there, stale and fresh: below 1 if clipped.
        decay: norm of the weight decay over that of the gradient in use, 0 without decay.
    """

    fresh: float
    stale: float
    used: float
    ratio: float
    decay: float


@dataclass
class Instruments:
    """Written while a training is watched.

    Args:
        model: that is trained.
        optimizer: that trains it.
        pull: the rate of a weight decay that is part of the gradients already.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    uses: list[Use] = field(default_factory=list)
    in_eval: set[str] = field(default_factory=set)
    has_run: set[str] = field(default_factory=set)
    arrived: set[str] = field(default_factory=set)
    num_steps: int = 0
    is_on: bool = True
    pull: float = 0.0
    _is_midway: bool = False
    _fresh: dict[Tensor, Tensor] = field(default_factory=dict)
    _stale: dict[Tensor, Tensor] = field(default_factory=dict)

    @contextmanager
    def attached(self) -> Iterator[None]:
        """Hooks on while its body runs; they never change a gradient."""
        handles: list[Any] = [
            self.optimizer.register_step_pre_hook(lambda *_: self._before_step()),
            self.optimizer.register_step_post_hook(lambda *_: self._after_step()),
        ]
        for name, parameter in self.model.named_parameters():
            if parameter.requires_grad:
                handles.append(parameter.register_hook(self._arriving(name, parameter)))
        for name, module in self.model.named_modules():
            if isinstance(module, MODAL):
                handles.append(module.register_forward_pre_hook(self._running(name)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _arriving(self, name: str, parameter: Tensor) -> Callable[[Tensor], None]:
        def hook(gradient: Tensor) -> None:
            self.arrived.add(name)
            # Between two optimizer steps all gradients are looked at or none: what arrived before
            # the look began would pass for what the last step had used.
            if not self.is_on or self._is_midway:
                self._is_midway = True
                return
            if parameter in self._fresh:
                self._fresh[parameter] = self._fresh[parameter] + gradient.detach()
                return
            self._fresh[parameter] = gradient.detach().clone()
            # What lies there now was used by the last step, unless this is the first gradient.
            if self.num_steps and parameter.grad is not None:
                self._stale[parameter] = parameter.grad.detach().clone()

        return hook

    def _running(self, name: str) -> Callable[[nn.Module, Any], None]:
        def hook(module: nn.Module, _: Any) -> None:
            if torch.is_grad_enabled():
                self.has_run.add(name)
                if not module.training:
                    self.in_eval.add(name)

        return hook

    def _before_step(self) -> None:
        if self._is_midway or not self._fresh:
            return
        fresh, stale, used, both, decay = 0.0, 0.0, 0.0, 0.0, 0.0
        for group in self.optimizer.param_groups:
            rate = float(group.get("weight_decay", 0) or 0) + self.pull
            for parameter in group["params"]:
                arrived, grad = self._fresh.get(parameter), parameter.grad
                if arrived is None or (grad is not None and grad.is_sparse):
                    continue
                fresh += _square(arrived)
                if grad is None:
                    continue
                left = self._stale.get(parameter)
                total = arrived if left is None else arrived + left
                stale += 0.0 if left is None else _square(left)
                used += _square(grad)
                both += _square(total)
                decay += _square(parameter.detach()) * rate**2 if parameter.ndim > 1 else 0.0
        self.uses.append(
            Use(
                fresh**0.5,
                stale**0.5,
                used**0.5,
                (used / both) ** 0.5 if both else 1.0,
                (decay / used) ** 0.5 if used else 0.0,
            )
        )

    def _after_step(self) -> None:
        self.num_steps += 1
        self._is_midway = False
        self._fresh.clear()
        self._stale.clear()


def _square(tensor: Tensor) -> float:
    return float(tensor.double().square().sum())
