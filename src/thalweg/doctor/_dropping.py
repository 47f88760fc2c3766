"""Units that a forward pass drops in evaluation mode as well."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from thalweg._batch import call_of, first_samples
from thalweg._problem import Problem
from thalweg._reading import reading

RATES: Mapping[str, tuple[str, int, str | None, int]] = {
    **dict.fromkeys(
        (
            "dropout",
            "dropout1d",
            "dropout2d",
            "dropout3d",
            "alpha_dropout",
            "feature_alpha_dropout",
        ),
        ("p", 1, "training", 2),
    ),
    "scaled_dot_product_attention": ("dropout_p", 4, None, 0),
}
"""Functions that drop: name and place of the rate, and of what says whether to drop at all."""

MOST = 8
"""Samples that are passed through."""


class _Ears(TorchFunctionMode):
    """Hears what is dropped, and which module is running."""

    def __init__(self) -> None:
        super().__init__()
        self.running: list[str] = []
        self.rates: dict[str, float] = {}

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        kwargs = kwargs or {}
        known = RATES.get(getattr(func, "__name__", ""))
        if known is not None:
            rate, at, gate, gate_at = known
            p = kwargs.get(rate, args[at] if len(args) > at else 0.0)
            drops = gate is None or kwargs.get(gate, args[gate_at] if len(args) > gate_at else True)
            if drops and p:
                name = self.running[-1] if self.running else ""
                self.rates[name] = max(float(p), self.rates.get(name, 0.0))
        return func(*args, **kwargs)

    @contextmanager
    def listening(self, model: nn.Module) -> Iterator[None]:
        with ExitStack() as hooks:
            for name, module in model.named_modules():
                hooks.enter_context(module.register_forward_pre_hook(self._entering(name)))
                hooks.enter_context(module.register_forward_hook(self._leave))
            hooks.enter_context(self)
            yield

    def _entering(self, name: str) -> Callable[..., None]:
        return lambda *_: self.running.append(name)

    def _leave(self, *_: Any) -> None:
        self.running.pop()


def dropped_in_evaluation(problem: Problem) -> dict[str, float]:
    """Rates at which a copy in evaluation mode drops units, by the module whose forward does so.

    `F.dropout` drops whatever the mode is unless it is told `training=self.training`. What breaks
    on the way is said elsewhere. Cost: a forward pass of a few samples.
    """
    model, ears = problem.copied().model.eval(), _Ears()
    with reading(), torch.no_grad():
        torch.manual_seed(0)
        call = call_of(first_samples(problem.batches[0], MOST), model)
        try:
            with ears.listening(model):
                model(*call.args, **call.kwargs)
        except Exception:
            return {}
    return ears.rates
