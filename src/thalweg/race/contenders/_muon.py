"""Muon, since torch 2.9, with matrices multiplied in a dtype that the processor is made for."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thalweg._errors import ThalwegError


class Kept(TorchFunctionMode):
    """Leaves a matrix in its own dtype where it would be cast to bfloat16.

    A processor without arithmetic for bfloat16 emulates it, at a hundredth of the speed.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        # A copy like the cast's: what follows divides it in place.
        return args[0].clone() if func is Tensor.bfloat16 else func(*args, **(kwargs or {}))


class Muon(torch.optim.Muon):
    """Newton–Schulz left in bfloat16 only where the device of a matrix computes in it."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """As torch's."""
        (group, *_) = self.param_groups
        like = group["params"][0]
        is_made_for_it = not like.is_cpu or torch.ops.mkldnn._is_mkldnn_bf16_supported()
        with nullcontext() if is_made_for_it else Kept():
            return super().step(closure)  # type: ignore[no-untyped-call]


def muon(params: list[nn.Parameter], lr: float) -> list[torch.optim.Optimizer]:
    """Muon on matrices, Adam on the rest.

    Raises:
        ThalwegError: if there is no matrix.
    """
    matrices = [p for p in params if p.ndim == 2]
    others = [p for p in params if p.ndim != 2]
    if not matrices:
        raise ThalwegError(
            "Muon orthogonalises the gradients of matrices, and this model has none; leave it out"
        )
    optimizers: list[torch.optim.Optimizer] = [
        # The root mean square of its step made that of Adam: one learning rate serves both.
        Muon(matrices, lr=lr, weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
    ]
    return [*optimizers, torch.optim.Adam(others, lr=lr)] if others else optimizers
