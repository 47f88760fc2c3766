"""Whether the same parameters give the same value, and which module is to blame where not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from thalweg._batch import tensors_in
from thalweg._errors import RandomModelError

Trace = dict[str, tuple[float, float]]
"""A fingerprint of what each module received and returned, in the order of returning."""


@contextmanager
def tracing(model: nn.Module) -> Iterator[Trace]:
    """Watches one forward pass of a model."""
    seen: Trace = {}

    def record(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            seen[name] = _fingerprint((args, kwargs)), _fingerprint(output)

        return hook

    handles = [
        module.register_forward_hook(record(name), with_kwargs=True)
        for name, module in model.named_modules()
    ]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def culprit(model: nn.Module, trace: Trace, again: Trace) -> str:
    """The innermost module that returned something else for the same input, in words."""
    for name, (received, returned) in trace.items():
        received_again, returned_again = again.get(name, (received, returned))
        if received_again == received and returned_again != returned:
            kind = type(model.get_submodule(name)).__name__
            return f"module {name!r} ({kind})" if name else f"the forward of {kind} itself"
    return "the loss"


def _fingerprint(tree: Any) -> float:
    return sum(float(t.detach().double().nan_to_num().sum()) for t in tensors_in(tree))


def refuse_random_modes(model: nn.Module) -> None:
    """Refuses modules that are known to be random, or to mix samples, in the mode they are in."""
    way_out = "call model.eval() in your factory, or return Problem(...).in_eval_mode()"
    for name, module in model.named_modules():
        kind = type(module).__name__
        place = f"module {name!r} ({kind})" if name else f"the model itself ({kind})"
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            neighbours = "uses the statistics of the batch: a sample's loss depends on the others"
            if module.running_mean is None:
                raise RandomModelError(f"{place} {neighbours}; set track_running_stats=True")
            if module.training:
                raise RandomModelError(f"{place} {neighbours}; {way_out}")
        rate = getattr(module, "p" if isinstance(module, nn.modules.dropout._DropoutNd) else "", 0)
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            rate = module.dropout
        if module.training and isinstance(rate, float | int) and rate > 0:
            raise RandomModelError(f"{place} drops units at random, p = {rate}; {way_out}")
