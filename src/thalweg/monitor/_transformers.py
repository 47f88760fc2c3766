"""A monitor as a TrainerCallback of Hugging Face's transformers."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import torch.distributed as dist
from torch import nn

from thalweg._errors import ThalwegError
from thalweg.monitor._monitor import Monitor


def for_transformers(**how: Any) -> Any:
    """A TrainerCallback that keeps a `Monitor`.

    The monitor is its attribute `monitor`, from the start of the training on. Gradients are those
    before the Trainer clips them, which it does by default; the loss is the one that the model
    returns. Under DDP ranks are averaged.

    Args:
        how: what else a `Monitor` takes: instruments, every, overhead, data, loggers.

    Raises:
        ThalwegError: if transformers is not there:
            `pip install 'thalweg[monitor-transformers]'`.

    Example:
        >>> import transformers, thalweg  # doctest: +SKIP
        >>> callback = thalweg.monitor.for_transformers()  # doctest: +SKIP
        >>> trainer = transformers.Trainer(model, ..., callbacks=[callback])  # doctest: +SKIP
        >>> trainer.train()  # doctest: +SKIP
        >>> callback.monitor.save("monitor.html")  # doctest: +SKIP
    """
    try:
        callback = import_module("transformers").TrainerCallback
    except ModuleNotFoundError as error:
        raise ThalwegError(
            "transformers is not installed; get it with pip install 'thalweg[monitor-transformers]'"
        ) from error
    return type("TransformersMonitor", (_Hooks, callback), {})(how)


class _Hooks:
    """What the Trainer calls."""

    def __init__(self, how: Mapping[str, Any]) -> None:
        super().__init__()
        self._how = dict(how)
        self.monitor: Monitor | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **there: Any) -> None:
        """Puts the monitor on."""
        optimizer = there["optimizer"]
        kind = _OnEveryRank if args.world_size > 1 and dist.is_initialized() else Monitor
        # accelerate's wrapper of the optimizer knows the scaler.
        how = {"scaler": getattr(optimizer, "scaler", None), **self._how}
        self.monitor = kind(there["model"], None, optimizer, **how)

    def on_train_end(self, args: Any, state: Any, control: Any, **there: Any) -> None:
        """Takes the monitor off."""
        if self.monitor is not None:
            self.monitor.close()


class _OnEveryRank(Monitor):
    """Of a model whose wrapper the Trainer keeps to itself."""

    def _count_ranks(self, model: nn.Module) -> int:
        return dist.get_world_size()
