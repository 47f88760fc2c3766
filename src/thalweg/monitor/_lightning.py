"""A monitor as a Callback of Lightning."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from thalweg._errors import ThalwegError
from thalweg.monitor._monitor import Monitor


def for_lightning(loss: Callable[..., Tensor] | None = None, **how: Any) -> Any:
    """A Lightning Callback that keeps a `Monitor`; its numbers go to the trainer's loggers.

    The monitor is its attribute `monitor`, from the start of the training on. Gradients are those
    before Lightning clips them, and without the scale of 16-bit precision; the loss is what
    `training_step` returned. Under DDP ranks are averaged.

    Args:
        loss: what `training_step` computes, as `loss(module(input), target)`: curvature and the
            loss along the step are read by it; without it these are left out.
        how: what else a `Monitor` takes: instruments, every, overhead, data, loggers.

    Raises:
        ThalwegError: if Lightning is not there: `pip install 'thalweg[monitor-lightning]'`.

    Example:
        >>> import lightning, thalweg  # doctest: +SKIP
        >>> callback = thalweg.monitor.for_lightning(torch.nn.functional.cross_entropy)
        ... # doctest: +SKIP
        >>> lightning.Trainer(callbacks=[callback]).fit(module, loader)  # doctest: +SKIP
        >>> callback.monitor.save("monitor.html")  # doctest: +SKIP
    """
    kind = type("LightningMonitor", (_Hooks, _callback_class()), {})
    return kind(loss, how)


def _callback_class() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return import_module(name).Callback
        except ModuleNotFoundError:
            continue
    raise ThalwegError(
        "Lightning is not installed; get it with pip install 'thalweg[monitor-lightning]'"
    )


class _Hooks:
    """What Lightning calls."""

    def __init__(self, loss: Callable[..., Tensor] | None, how: Mapping[str, Any]) -> None:
        super().__init__()
        self._loss, self._how = loss, dict(how)
        self.monitor: Monitor | None = None
        self._batch: Any = None

    def on_train_start(self, trainer: Any, pl_module: nn.Module) -> None:
        """Puts the monitor on."""
        wrapped = trainer.strategy.model
        loggers = [*self._how.get("loggers", ()), *map(_TrainersLogger, trainer.loggers)]
        how = {"scaler": getattr(trainer.precision_plugin, "scaler", None), **self._how}
        self.monitor = Monitor(
            wrapped if isinstance(wrapped, nn.parallel.DistributedDataParallel) else pl_module,
            self._loss,
            trainer.optimizers[0],
            **{**how, "loggers": loggers},
        )

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, index: int) -> None:
        """Sees the batch."""
        self._batch = batch

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Tensor) -> None:
        """Sees the loss, of which Lightning takes a part where gradients are accumulated."""
        if self.monitor is not None:
            self.monitor.see(self._batch, loss.detach() * trainer.accumulate_grad_batches)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Takes the monitor off."""
        self._close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Takes the monitor off."""
        self._close()

    def _close(self) -> None:
        if self.monitor is not None:
            self.monitor.close()
        self._batch = None


class _TrainersLogger:
    """One of the trainer's own loggers."""

    def __init__(self, logger: Any) -> None:
        self._logger = logger

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Hands the numbers on, under `thalweg/`."""
        self._logger.log_metrics({f"thalweg/{n}": v for n, v in values.items()}, step=step)
