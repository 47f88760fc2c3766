"""What a reading did otherwise than training does, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import reduce
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from thalweg._reading import DEVICE_KINDS, unwrapped

HALF = (torch.bfloat16, torch.float16)
"""Dtypes in which second derivatives are mostly rounding."""


def reading_dtype(model: nn.Module) -> torch.dtype | None:
    """The dtype that a model with parameters in half precision is read in; None for any other."""
    dtypes = [p.dtype for p in unwrapped(model).parameters() if p.dtype.is_floating_point]
    if not any(dtype in HALF for dtype in dtypes):
        return None
    return reduce(torch.promote_types, dtypes, torch.float32)


def of_wrappers(model: nn.Module) -> list[str]:
    """What was taken off a model."""
    modules = list(model.modules())
    notes = []
    if any(isinstance(m, nn.parallel.DistributedDataParallel | nn.DataParallel) for m in modules):
        notes.append("distributed wrapper taken off")
    if any(hasattr(m, "_orig_mod") or m._compiled_call_impl is not None for m in modules):
        notes.append("compiled model read eagerly")
    return notes


def of_dtypes(tensors: Iterable[Tensor], dtype: torch.dtype | None) -> list[str]:
    """Which parameters were read in copies of another dtype."""
    others = {t.dtype for t in tensors if t.dtype.is_floating_point and t.dtype != dtype}
    if dtype is None or not others:
        return []
    named = " and ".join(sorted(str(d).removeprefix("torch.") for d in others))
    return [f"parameters in {named} read in {str(dtype).removeprefix('torch.')} copies"]


def of_forward(run: Callable[[], Any]) -> list[str]:
    """What a forward pass shows: attention that may be fused elsewhere, autocast of its own."""
    with _Watching() as seen:
        run()
    notes = ["attention by the math kernel"] if seen.has_attention else []
    if seen.has_autocast:
        notes.append("autocast that the model switches on in its own forward was left on")
    return notes


class _Watching(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.has_attention = self.has_autocast = False

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        # torch's attention module calls the kernel only where nobody asks for the weights.
        hands_on = func is F.multi_head_attention_forward and not kwargs.get("need_weights", True)
        self.has_attention |= hands_on or func is F.scaled_dot_product_attention
        self.has_autocast |= any(map(torch.is_autocast_enabled, DEVICE_KINDS))
        return func(*args, **kwargs)
