"""Numbers arrive where they are logged, in the real packages."""

import json
import math
import warnings

import pytest
from loops import batches, network, sgd, watched

from thalweg import monitor

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore"),  # of the packages' own imports
]


def package(name):
    """The package, or the test is skipped aloud: absent, or broken by what it imports."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(name, exc_type=Exception)


def logged(*loggers):
    model = network()
    given = batches(3)
    given[2] = (given[2][0] * math.nan, given[2][1])
    watch = watched(model, sgd(model), given, loggers=loggers)
    assert not [note for note in watch.notes if "left out" in note], watch.notes
    return watch.history


def test_jsonl(tmp_path):
    path = tmp_path / "run.jsonl"
    history = logged(monitor.JSONL(path))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
    assert lines[2]["loss"] == "NaN"
    for line, record in zip(lines[:2], history, strict=False):
        assert line == {"step": record.step, **record.values}


def test_tensorboard(tmp_path):
    package("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        history = logged(monitor.TensorBoard(writer))
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert set(events.Tags()["scalars"]) >= {f"thalweg/{name}" for name in history[0].values}
    for event, record in zip(events.Scalars("thalweg/loss"), history, strict=True):
        assert event.step == record.step
        assert event.value == pytest.approx(record.values["loss"], rel=1e-6, nan_ok=True)


def test_wandb_offline(tmp_path, monkeypatch):
    wandb = package("wandb")
    monkeypatch.setenv("WANDB_SILENT", "true")
    with wandb.init(mode="offline", dir=str(tmp_path), project="thalweg") as run:
        history = logged(monitor.WandB(run))
        assert run.summary["thalweg/step"] == 3
        last = history[1].values["sharpness"]
        assert run.summary["thalweg/sharpness"] == pytest.approx(last)
    assert list(tmp_path.glob("wandb/offline-run-*/*.wandb"))


def test_mlflow(tmp_path):
    mlflow = package("mlflow")
    uri = f"sqlite:///{tmp_path / 'runs.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("watched", artifact_location=str(tmp_path))
    run = client.create_run(experiment).info.run_id
    history = logged(monitor.MLflow(client, run))
    found = client.get_metric_history(run, "thalweg/gradient_norm/0")
    steps = {metric.step: metric.value for metric in found}
    assert sorted(steps) == [1, 2, 3]
    assert steps[1] == pytest.approx(history[0].values["gradient_norm/0"])
    assert math.isnan(steps[3])
