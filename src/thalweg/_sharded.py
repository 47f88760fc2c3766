"""Models whose parameters lie in pieces on several processes (FSDP2, DTensor), put together."""

from __future__ import annotations

import copy
import sys
from typing import Any

import torch
from torch import Tensor, nn


def is_sharded(model: nn.Module) -> bool:
    """Whether `fully_shard` was applied to the model or a part, or a parameter is a DTensor."""
    kind = _fsdp_module()
    is_managed = kind is not None and any(isinstance(m, kind) for m in model.modules())
    return is_managed or any(_is_in_pieces(t) for t in (*model.parameters(), *model.buffers()))


def gathered(model: nn.Module) -> nn.Module:
    """A plain copy of a sharded model with whole tensors of its own, on every process.

    Collective. Hooks of FSDP stay behind, and with them its mixed precision: the copy computes in
    the dtype of the parameters.
    """
    memo: dict[int, Any] = {}
    with torch.no_grad():
        for tensor in (*model.parameters(), *model.buffers()):
            copied = _whole(tensor).detach().clone()
            if isinstance(tensor, nn.Parameter):
                copied = nn.Parameter(copied, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = copied
    # Children come first: those of FSDP refuse to be copied, and are known by then.
    for module in reversed(list(model.modules())):
        memo[id(module)] = _plain(module, memo)
    plain: nn.Module = memo[id(model)]
    return plain


def _plain(module: nn.Module, memo: dict[int, Any]) -> nn.Module:
    kind = _fsdp_module()
    # fully_shard makes a class FSDPLinear(FSDPModule, Linear) of Linear.
    own = type(module).__bases__[1] if kind and isinstance(module, kind) else type(module)
    plain: nn.Module = object.__new__(own)
    for name, value in vars(module).items():
        if name.startswith("__composable_api"):
            continue  # where fully_shard keeps its state
        if "hooks" in name and isinstance(value, dict):
            value = type(value)((k, hook) for k, hook in value.items() if not _is_fsdp(hook))
        vars(plain)[name] = copy.deepcopy(value, memo)
    return plain


def _is_fsdp(hook: object) -> bool:
    return str(getattr(hook, "__module__", "")).startswith("torch.distributed")


def _whole(tensor: Any) -> Tensor:
    whole: Tensor = tensor.full_tensor() if _is_in_pieces(tensor) else tensor
    return whole


def _is_in_pieces(tensor: Tensor) -> bool:
    return hasattr(tensor, "full_tensor")


def _fsdp_module() -> type | None:
    # Nobody has sharded a model before that module was imported, which takes a while.
    fsdp = sys.modules.get("torch.distributed.fsdp")
    return getattr(fsdp, "FSDPModule", None)
