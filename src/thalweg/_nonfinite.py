"""Where a NaN or an infinity was born: the first tensor of a run that is not finite."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._batch import tensors_in


def is_finite(tree: Any) -> bool:
    """Whether every floating tensor of a nest holds finite numbers only."""
    return all(bool(torch.isfinite(t).all()) for t in tensors_in(tree) if t.is_floating_point())


def birthplace(
    model: nn.Module, params: Mapping[str, Tensor], batch: Any, run: Callable[[], object]
) -> str | None:
    """The first place where a forward pass stops being finite, in words; None if it never does.

    Args:
        model: the modules that `run` passes through; hooks are put on them and taken off.
        params: the parameters the run uses.
        batch: what goes in.
        run: the forward pass.
    """
    buffers = dict(model.named_buffers())
    for name, tensor in {**buffers, **params}.items():
        if not _is_sound(tensor):
            return f"{'buffer' if name in buffers else 'parameter'} {name!r}"
    if not _is_sound(batch):
        return "the data itself"
    born: list[str] = []

    def look(name: str, module: nn.Module) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            if not born and _is_sound((args, kwargs)) and not is_finite(output):
                place = f"layer {name!r}" if name else "the forward of the model itself"
                born.append(f"{place} ({type(module).__name__})")

        return hook

    # Inner modules finish before the outer ones that hold them, so the first report is innermost.
    handles = [
        module.register_forward_hook(look(name, module), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        run()
    finally:
        for handle in handles:
            handle.remove()
    return born[0] if born else None


def _is_sound(tree: Any) -> bool:
    """Whether it is finite, up to attention masks of 0 and −∞."""
    return all(is_finite(t) or (t.ndim > 1 and _is_mask(t)) for t in tensors_in(tree))


def _is_mask(tensor: Tensor) -> bool:
    return bool(((tensor == 0) | (tensor == -torch.inf)).all())
