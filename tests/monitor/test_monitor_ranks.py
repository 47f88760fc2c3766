"""Under DistributedDataParallel: the numbers of one process, kept by all and logged by one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from loops import batches, network, sgd, watched

import thalweg

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ranks are forked")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranks")
    ran = subprocess.run(
        [sys.executable, str(HERE / "ranks.py"), str(folder)],
        capture_output=True,
        text=True,
        timeout=150,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(thalweg.__file__).parent.parent),
        },
    )
    assert ran.returncode == 0, ran.stderr
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2)]


def test_a_training_is_the_same_to_the_bit(ranks):
    for found in ranks:
        assert torch.equal(found["plain"]["params"], found["all"]["params"])


def test_the_numbers_are_those_of_one_process(ranks):
    model = network()
    expected = watched(model, sgd(model), batches(4)).history
    for found in ranks:
        assert found["all"]["notes"] == []
        for (step, values), record in zip(found["all"]["records"], expected, strict=True):
            assert step == record.step
            for name in ("loss", "gradient_norm", "gradient_norm/0", "update_ratio", "lr"):
                assert values[name] == pytest.approx(record.values[name], rel=1e-9)
            # Curvature is that of both halves together, whose mean is that of the whole batch.
            for name in ("sharpness", "stability_ratio", "alignment", "trace", "trace_error"):
                assert values[name] == pytest.approx(record.values[name], rel=1e-5), name


def test_where_one_rank_has_no_data_no_rank_waits_for_it(ranks):
    for found in ranks:
        steps = [step for step, values in found["late"]["records"] if "sharpness" in values]
        assert steps == [2, 3, 4]
        assert any("rank 1: no batch was seen" in note for note in found["late"]["notes"])


def test_a_nan_on_one_rank_leaves_curvature_unread_on_all(ranks):
    for found in ranks:
        read = ["sharpness" in values for _, values in found["nan, all"]["records"]]
        assert read == [True, False, False, False]


@pytest.mark.parametrize("run", ["all", "by the clock", "nan", "nan, all", "late"])
def test_ranks_agree_and_one_of_them_logs(ranks, run):
    first, second = (found[run] for found in ranks)
    assert repr(first["records"]) == repr(second["records"])
    assert first["alerts"] == second["alerts"]
    assert first["logged"] == [step for step, _ in first["records"]]
    assert second["logged"] == []


def test_planned_by_the_clock_everything_is_read(ranks):
    steps = [step for step, _ in ranks[0]["by the clock"]["records"]]
    assert 2 < len(steps) <= 121
    assert steps == sorted(set(steps))


def test_a_nan_on_one_rank_is_seen_on_all(ranks):
    for found in ranks:
        assert found["nan"]["alerts"][0].startswith("step 2: the loss is nan")
