"""Logger: where numbers go. Any object with `log(step, values)` will do."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Protocol, runtime_checkable

from thalweg.report import to_jsonable


@runtime_checkable
class Logger(Protocol):
    """Takes numbers by name at a step."""

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Writes them down.

        Args:
            step: the optimizer step.
            values: numbers by name, `quantity` or `quantity/layer`.
        """
        ...


class JSONL:
    """One line of JSON for every reading: `{"step": 16, "loss": 0.5, …}`.

    NaN and infinity are written as strings, so that every strict reader takes the file. Lines are
    appended, and on disk when `log` returns.

    Args:
        path: of the file; its directory has to be there.

    Example:
        >>> import tempfile, pathlib
        >>> path = pathlib.Path(tempfile.mkdtemp()) / "run.jsonl"
        >>> JSONL(path).log(1, {"loss": float("nan")})
        >>> print(path.read_text().strip())
        {"step": 1, "loss": "NaN"}
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = Path(path)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Appends a line."""
        line = json.dumps(to_jsonable({"step": step, **values}), allow_nan=False)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")


class TensorBoard:
    """Scalars of a TensorBoard writer, under `thalweg/`.

    Args:
        writer: a `torch.utils.tensorboard.SummaryWriter`.
    """

    def __init__(self, writer: TensorBoardWriter) -> None:
        self.writer = writer

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Adds a scalar for each number."""
        for name, value in values.items():
            self.writer.add_scalar(f"thalweg/{name}", value, step)


class WandB:
    """A run of Weights & Biases, under `thalweg/`.

    The step goes in as a number of its own, `thalweg/step`, that the others are drawn over: the
    run's own step is left to the training.

    Args:
        run: what `wandb.init()` returned; offline will do.
    """

    def __init__(self, run: WandBRun) -> None:
        self.run = run
        run.define_metric("thalweg/step")
        run.define_metric("thalweg/*", step_metric="thalweg/step")

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs all numbers at once."""
        self.run.log({"thalweg/step": step, **{f"thalweg/{n}": v for n, v in values.items()}})


class MLflow:
    """Metrics of an MLflow run, under `thalweg/`.

    Characters that MLflow refuses in names become underscores.

    Args:
        client: an `mlflow.MlflowClient()`.
        run_id: of the run, for instance `mlflow.active_run().info.run_id`.
    """

    def __init__(self, client: MLflowClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Logs a metric for each number."""
        for name, value in values.items():
            self.client.log_metric(self.run_id, f"thalweg/{_allowed(name)}", value, step=step)


def _allowed(name: str) -> str:
    return "".join(c if c.isalnum() or c in "_-. /" else "_" for c in name)


class TensorBoardWriter(Protocol):
    """What is used of a SummaryWriter."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> object:
        """Adds one number."""
        ...


class WandBRun(Protocol):
    """What is used of a wandb.Run."""

    def define_metric(self, name: str, step_metric: str | None = None) -> object:
        """Says over what a number is drawn."""
        ...

    def log(self, data: dict[str, float]) -> object:
        """Logs numbers."""
        ...


class MLflowClient(Protocol):
    """What is used of an MlflowClient."""

    def log_metric(self, run_id: str, key: str, value: float, *, step: int) -> object:
        """Logs one number."""
        ...
