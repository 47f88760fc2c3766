"""Everything that a reading could change, taken down so that it can be compared bit by bit."""

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def _bytes(tensor: Tensor | None) -> Any:
    if (
        tensor is None
        or tensor.is_meta
        or isinstance(tensor, nn.parameter.UninitializedTensorMixin)
    ):
        return type(tensor)
    return tensor.detach().clone().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def _tensor(tensor: Tensor) -> Any:
    hooks = len(tensor._backward_hooks or ())
    return id(tensor), _bytes(tensor), tensor.requires_grad, _bytes(tensor.grad), hooks


def _module(module: nn.Module) -> Any:
    attributes = {}
    for name, value in vars(module).items():
        # Hooks are counted; plain attributes are compared by value where they have one.
        is_plain = isinstance(value, bool | int | float | str | list | None)
        attributes[name] = len(value) if "hooks" in name and value else repr(value) * is_plain
    return attributes


def _leaves(tree: Any) -> list[Any]:
    if isinstance(tree, dict):
        tree = list(tree.values())
    if isinstance(tree, list | tuple):
        return [leaf for branch in tree for leaf in _leaves(branch)]
    return [_tensor(tree)] if isinstance(tree, Tensor) else []


def trace_of(*owned: Any) -> dict[str, Any]:
    """The state of modules, data and generators, and of torch, NumPy and Python at large."""
    trace: dict[str, Any] = {
        "torch RNG": _bytes(torch.get_rng_state()),
        "numpy RNG": (np.random.get_state()[1].tobytes(), *np.random.get_state()[2:]),
        "python RNG": random.getstate(),
        "grad mode": torch.is_grad_enabled(),
        "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "default dtype": torch.get_default_dtype(),
        "attention kernels": (
            torch.backends.cuda.flash_sdp_enabled(),
            torch.backends.cuda.mem_efficient_sdp_enabled(),
            torch.backends.mha.get_fastpath_enabled(),
        ),
    }
    for i, thing in enumerate(owned):
        if isinstance(thing, nn.Module):
            for name, module in thing.named_modules():
                trace[f"{i}: module {name}"] = _module(module)
            for name, tensor in (*thing.named_parameters(), *thing.named_buffers()):
                trace[f"{i}: {name}"] = _tensor(tensor)
        elif isinstance(thing, torch.Generator):
            trace[f"{i}: generator"] = _bytes(thing.get_state())
        else:
            trace[f"{i}: data"] = _leaves(thing)
    return trace


def assert_no_trace(before: dict[str, Any], *owned: Any) -> None:
    after = trace_of(*owned)
    assert before.keys() == after.keys()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, changed
