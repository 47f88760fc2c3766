"""Whether the same parameters give the same value, and which module is to blame where not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._batch import tensors_in
from thalweg._errors import ProblemError, RandomModelError
from thalweg._frozen import uses_batch_statistics
from thalweg._graph import custom_functions, explaining

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


def refuse_difference(
    model: nn.Module, losses: tuple[Tensor, Tensor], traces: tuple[Trace, Trace]
) -> None:
    """Refuses two losses that differ for the same parameters and data, by more than rounding.

    Raises:
        RandomModelError: names the module.
    """
    first, second = map(float, losses)
    # Some sums run in no fixed order on a GPU: that much is rounding.
    if abs(first - second) > 100 * torch.finfo(losses[0].dtype).eps * abs(first):
        raise RandomModelError(
            f"the same parameters gave two losses, {first} and {second}: "
            f"{_culprit(model, *traces)} is random in its mode, or remembers; call model.eval() in "
            f"your factory, or return Problem(...).in_eval_mode(); a functional dropout needs "
            f"training=self.training for that"
        )


def refuse_running_again(model: nn.Module, loss: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Refuses a model that runs in its own backward pass: that run sees other parameters.

    Raises:
        ProblemError: if it does.
    """
    with explaining(), tracing(model) as trace:
        torch.autograd.grad(loss, inputs, allow_unused=True)
    # A reentrant checkpoint does not run here at all: it hides the parameters from autograd.grad.
    if trace or any("Checkpoint" in function.__name__ for function in custom_functions(loss)):
        raise ProblemError(
            "the model runs again in the backward pass (activation checkpoints), with the "
            "parameters that it holds by then and not those it is read at; switch that off for "
            "the reading, for instance model.gradient_checkpointing_disable()"
        )


def _culprit(model: nn.Module, trace: Trace, again: Trace) -> str:
    """The innermost module that returned something else for the same input, in words."""
    for name, (received, returned) in trace.items():
        received_again, returned_again = again.get(name, (received, returned))
        if received_again == received and returned_again != returned:
            kind = type(model.get_submodule(name)).__name__
            return f"module {name!r} ({kind})" if name else f"the forward of {kind} itself"
    return "the loss"


def _fingerprint(tree: Any) -> float:
    total = 0.0
    for tensor in tensors_in(tree):
        plain = tensor.detach()
        if plain.is_complex():
            plain = torch.view_as_real(plain.resolve_conj())
        entry = float(plain.sum(dtype=torch.float64))
        # NaN is unlike itself, and says nothing about who is random.
        total += entry if isfinite(entry) else 0.0
    return total


_IN_EVAL_MODE = "call model.eval() in your factory, or return Problem(...).in_eval_mode()"


def refuse_random_modes(model: nn.Module) -> None:
    """Refuses modules that are known to be random, or to mix samples, in the mode they are in."""
    for name, module in model.named_modules():
        if uses_batch_statistics(module):
            way_out = (
                "set track_running_stats=True" if module.running_mean is None else _IN_EVAL_MODE
            )
            raise RandomModelError(
                f"{_place(name, module)} uses the statistics of the batch: a sample's loss depends "
                f"on the others; {way_out}, or hold them: Problem(...).with_frozen_statistics()"
            )
    refuse_dropout(model)


def refuse_dropout(model: nn.Module) -> None:
    """Refuses modules that are known to drop units at random in the mode they are in."""
    for name, module in model.named_modules():
        rate = getattr(module, "p" if isinstance(module, nn.modules.dropout._DropoutNd) else "", 0)
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            rate = module.dropout
        if module.training and isinstance(rate, float | int) and rate > 0:
            can_be_held = isinstance(module, nn.modules.dropout._DropoutNd)
            held = ", or hold one mask: Problem(...).with_frozen_dropout(generator)"
            raise RandomModelError(
                f"{_place(name, module)} drops units at random, p = {rate}; {_IN_EVAL_MODE}"
                f"{held if can_be_held else ''}"
            )


def _place(name: str, module: nn.Module) -> str:
    kind = type(module).__name__
    return f"module {name!r} ({kind})" if name else f"the model itself ({kind})"
