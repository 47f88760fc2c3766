"""Witness: what can be seen of one step of somebody's own training loop, through hooks."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from thalweg._batch import Batch, map_tensors
from thalweg._loss import logits_of, own_loss_of
from thalweg._reading import DEVICE_KINDS
from thalweg.monitor._hook import Hook
from thalweg.monitor._instrument import Instrument, Watching
from thalweg.monitor._tap import Tap

DIVISOR = "num_items_in_batch"
"""By this name transformers hands a model the number of tokens that its loss is divided by."""


class Witness:
    """Sees a step from when it is made until it is dismissed; what it saw it keeps.

    Args:
        given: the model as the loop calls it, wrappers included.
        model: the same, eager and undistributed.
        loss: `loss(output, target)`, or None where the model returns it.
        optimizer: that takes the step.
        parameters: those that it trains, by name.
        due: what is read at the step.
        has_tap: whether to see gradients as the backward pass leaves them.
        spend: told the seconds that the hooks took.
    """

    def __init__(
        self,
        given: nn.Module,
        model: nn.Module,
        loss: Callable[..., Tensor] | None,
        optimizer: torch.optim.Optimizer,
        parameters: Mapping[str, nn.Parameter],
        due: Sequence[Instrument],
        has_tap: bool,
        spend: Callable[[float], None],
    ) -> None:
        self._has_own_loss, self._parameters, self._spend = loss is None, parameters, spend
        self.call: Batch = None
        """The batch that the model was called with by keywords alone; None where it was not."""
        self.output: Any = None
        """What the loss can be worked out from; None where no output was seen."""
        self.before: dict[str, Tensor] = {}
        """The parameters before the step, where an instrument needs them."""
        self._shown: list[Tensor | float] = []
        self._values: list[Tensor] = []
        self._has_autocast = self._is_divided = False
        self._left = {
            name: (weakref.ref(p.grad), p.grad._version)
            for name, p in parameters.items()
            if p.grad is not None
        }
        self._tap = Tap(parameters) if has_tap else None
        self._handles: list[RemovableHandle] = [
            given.register_forward_hook(Hook(self._on_forward), with_kwargs=True)
        ]
        if isinstance(loss, nn.Module):
            self._handles.append(loss.register_forward_hook(Hook(self._on_loss)))
        if any(member.needs_before for member in due):
            hook = self._timed(self._before_step)
            self._handles.append(optimizer.register_step_pre_hook(hook))
        for parameter, seen in self._tap.hooks() if self._tap is not None else ():
            hook = self._timed(seen)
            self._handles.append(parameter.register_post_accumulate_grad_hook(hook))
        if not hasattr(given, "_orig_mod"):
            # Hooks inside of a compiled model would have it compiled again.
            watching = [member for member in due if isinstance(member, Watching)]
            for module, look in (pair for w in watching for pair in w.hooks(model)):
                self._handles.append(module.register_forward_hook(self._timed(look)))

    def show(self, value: Tensor | float) -> None:
        """The loss of a part of the step, as the loop computed it."""
        self._shown.append(value.detach() if isinstance(value, Tensor) else float(value))

    def dismiss(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @property
    def gradients(self) -> dict[str, Tensor]:
        """What the optimizer was given, by name, without what is left from another step."""
        return {
            name: gradient.detach()
            for name, parameter in self._parameters.items()
            if (gradient := parameter.grad) is not None and not self._is_stale(name, gradient)
        }

    @property
    def value(self) -> float | None:
        """The loss, where it was shown or passed by; the mean over the parts of the step."""
        told = self._shown or self._values
        if not told:
            return None
        # What was divided by the tokens of all parts is summed.
        count = 1 if self._is_divided and not self._shown else len(told)
        return sum(float(value) for value in told) / count

    def unclipped(self, given: Mapping[str, float], scaler: Any) -> dict[str, float] | None:
        """The norms of the gradients before clipping; None where they are unknown.

        Args:
            given: the norms that the optimizer was given.
            scaler: the GradScaler in use, if it is known.
        """
        return None if self._tap is None else self._tap.unclipped(given, scaler, self._has_autocast)

    def _is_stale(self, name: str, gradient: Tensor) -> bool:
        """Whether nobody has written a gradient in this step: it is left from another one."""
        if name not in self._left:
            return False
        reference, version = self._left[name]
        return reference() is gradient and gradient._version == version

    def _on_forward(self, _: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if not torch.is_grad_enabled():
            return
        self.output = _detached(output, self._has_own_loss)
        self.call = dict(kwargs) if kwargs and not args else None
        if self._has_own_loss and self.output is not None:
            self._values.append(self.output["loss"])
            # Transformers divides what is accumulated by all of its tokens.
            self._is_divided |= kwargs.get(DIVISOR) is not None
        if self.call is not None:
            self.call.pop(DIVISOR, None)
        self._has_autocast |= any(map(torch.is_autocast_enabled, DEVICE_KINDS))

    def _on_loss(self, _: nn.Module, __: Any, output: Any) -> None:
        if torch.is_grad_enabled() and isinstance(output, Tensor) and output.numel() == 1:
            self._values.append(output.detach())

    def _before_step(self, *_: Any) -> None:
        self.before = {name: p.detach().clone() for name, p in self._parameters.items()}

    def _timed(self, function: Callable[..., None]) -> Hook:
        def timed(*args: Any) -> None:
            start = perf_counter()
            function(*args)
            self._spend(perf_counter() - start)

        return Hook(timed)


def _detached(output: Any, has_own_loss: bool) -> Any:
    """What the loss is worked out from, without the graph and without what else there is."""
    if has_own_loss:
        loss = own_loss_of(output)
        return {"loss": loss.detach()} if isinstance(loss, Tensor) else None
    return map_tensors(logits_of(output), torch.Tensor.detach)
