"""Law 2 across processes: on 1, 2 and 3 ranks with a ragged tail the numbers are those of one.

`workers.py` runs all ranks once, for all tests; its outcomes are compared here with one process.
"""

import fcntl
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import workers

import thalweg
from problems import SHELF, draw
from readings import READINGS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="ranks are forked")

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@pytest.fixture(scope="session")
def outcomes(tmp_path_factory):
    """{ranks: [the outcomes of each]}."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent  # which all workers of pytest share
    with (folder / "ranks.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "3-2.pt").exists():
            ran = run(str(HERE / "workers.py"), str(folder), timeout=150)
            assert ran.returncode == 0, ran.stderr
    return {
        size: [torch.load(folder / f"{size}-{rank}.pt", weights_only=True) for rank in range(size)]
        for size in workers.SIZES
    }


def run(*arguments: str, timeout: float) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        cwd=ROOT,
        env={
            **os.environ,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(thalweg.__file__).parent.parent),
        },
    )


def assert_alike(outcomes, check: str, expected: torch.Tensor) -> None:
    """On any number of ranks the expected numbers, and the same bits on all of them."""
    for size, ranks in outcomes.items():
        first = ranks[0][check]
        # Sums in another order, by up to a hundred rounded steps.
        torch.testing.assert_close(
            first, expected, rtol=1e-9, atol=1e-11, msg=lambda m, s=size: f"{s} ranks: {m}"
        )
        for other in ranks[1:]:
            assert torch.equal(other[check], first), size


# -- the same numbers ------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "reading"), workers.compared())
def test_ranks_do_not_matter(outcomes, name, reading):
    whole = READINGS[reading](SHELF[name]().problem, workers.seeded())
    assert_alike(outcomes, f"{name}: {reading}", whole)


@pytest.mark.parametrize(("name", "reading"), workers.compared_with_an_empty_share())
def test_a_rank_may_hold_nothing(outcomes, name, reading):
    whole = READINGS[reading](SHELF[name]().problem, workers.seeded())
    assert_alike(outcomes, f"{name}, an empty share: {reading}", whole)


@pytest.mark.parametrize(("name", "of"), workers.DESCENTS)
def test_optimizers_take_the_same_steps(outcomes, name, of):
    assert_alike(outcomes, f"{name} down {of}", workers.descent(name, SHELF[of]().problem))


def test_optimizers_step_with_an_empty_share_and_with_wrapped_models(outcomes):
    expected = workers.descent("trust region", SHELF["mlp"]().problem)
    assert_alike(outcomes, "an empty share: descent", expected)
    assert_alike(outcomes, "data_parallel_descent", expected)


def test_no_rank_moves_where_one_fails(outcomes):
    for size, ranks in outcomes.items():
        for found in ranks:
            moved, said = found["failing_in_an_attempt"]
            assert not moved.any()
            assert f"rank {size - 1}: " in said or size == 1
            assert "the disk is full" in said


def test_the_card_is_the_same(outcomes):
    assert_alike(outcomes, "card", workers.card(SHELF["mlp"]().problem))


def test_wrapped_models_and_groups(outcomes):
    """DistributedDataParallel, fully_shard, and a group that leaves out the rank between."""
    whole = READINGS["hessian"](SHELF["mlp"]().problem, workers.seeded())
    assert_alike(outcomes, "data_parallel", whole)
    for size, ranks in outcomes.items():
        for rank, found in enumerate(ranks):
            hessian, refusal = found["sharded"]
            torch.testing.assert_close(hessian, whole, rtol=1e-9, atol=1e-11)
            assert "FSDP2" in refusal
            assert "across_ranks()" in refusal
            if (size, rank) == (3, 1):
                assert found["of_a_group"][0] == "RanksError"
                assert "process 1 is not in that group" in found["of_a_group"][1]
            else:
                torch.testing.assert_close(found["of_a_group"], whole, rtol=1e-9, atol=1e-11)


def test_a_jacobian_has_the_rows_of_its_rank(outcomes):
    J = thalweg.Surface(SHELF["mlp"]().problem).here().jacobian()
    rows = torch.cat([(J @ draw(26))[:, None], J.to_dense(), J.to_dense()], 1)
    for ranks in outcomes.values():
        found = torch.cat([rank["rows"] for rank in ranks])
        torch.testing.assert_close(found, rows, rtol=1e-9, atol=1e-11)


def test_what_ranks_decide_by_is_the_same_to_the_bit(outcomes):
    for ranks in outcomes.values():
        first = ranks[0]
        for other in ranks[1:]:
            assert torch.equal(first["agreeing_to_the_bit"], other["agreeing_to_the_bit"])
            # Timings differ between processes: that these agree says that one chose for all.
            assert other["probed"] == first["probed"]
        assert all("tape" in said for said, _ in first["probed"])


def test_a_product_is_one_all_reduce(outcomes):
    """Of n numbers, (n, k) for a block, and the three that tell of failures and disagreement."""
    for ranks in outcomes.values():
        for found in ranks:
            vector, block, adjoint, gram, rows = found["collectives"]
            assert vector == adjoint == gram == [("allreduce_", 26 + 3)]
            assert block == [("allreduce_", 3 * 26 + 3)]
            assert rows == []


# -- sentences -------------------------------------------------------------------------------

DISAGREEMENTS = {
    "other_draws": r"vector that is multiplied differs on rank 1 .* seed the generator alike",
    "other_draws_later": r"vector that is multiplied differs on rank 1 .* seed the generator",
    "other_signs": r"vector that is multiplied differs on rank [12] .* seed the generator",
    "other_parameters": r"'2.bias' differs on rank 1 from rank 0; give every rank the same model",
    "other_places": r"'0.weight' differs on rank 1 from rank 0",
    "other_training": r"'0.bias' differs on rank 1 from rank 0",
    "other_names": r"list of parameter names differs on rank 1",
    "other_statistics": r"'1.running_mean' differs on rank 1",
    "other_routes": r"the route differs on rank 1 from rank 0; pass the same route",
}


@pytest.mark.parametrize("check", DISAGREEMENTS)
def test_ranks_that_disagree_all_say_so(outcomes, check):
    for size in (2, 3):
        said = [rank[check] for rank in outcomes[size]]
        assert all(s == said[0] for s in said)
        kind, message = said[0]
        assert kind == "RanksError"
        assert re.search(DISAGREEMENTS[check], message)


FAILURES = {
    "nan_on_the_last": ("NonFiniteError", "the loss is nan in batch 0; born in the data itself"),
    "failing_in_a_product": ("ProblemError", "the loss raised OSError on batch 0: the disk is"),
    "no_second_derivative": ("SecondDerivativeError", "the autograd.Function Once"),
}


@pytest.mark.parametrize("check", FAILURES)
def test_what_fails_on_one_rank_is_raised_on_all(outcomes, check):
    expected, beginning = FAILURES[check]
    for size, ranks in outcomes.items():
        for found in ranks:
            kind, message = found[check]
            assert kind == expected
            assert message.startswith(f"rank {size - 1}: {beginning}")


REFUSALS = {
    "no_data_at_all": "no rank holds any data",
    "an_unknown_mean": "cannot tell over how many terms",
    "of_outputs": "take J.gram()",
    **{f"one process: {what}": "before across_ranks()" for what in workers.ONE_PROCESS},
}


@pytest.mark.parametrize("check", REFUSALS)
def test_what_cannot_be_read_across_ranks_is_refused(outcomes, check):
    for ranks in outcomes.values():
        for found in ranks:
            assert REFUSALS[check] in found[check][1]


def test_a_jacobian_needs_rows_on_every_rank(outcomes):
    assert outcomes[1][0]["jacobian_with_an_empty_rank"] is None
    for size, empty in ((2, 0), (3, 1)):
        for found in outcomes[size]:
            kind, message = found["jacobian_with_an_empty_rank"]
            assert kind == "RanksError"
            assert message.startswith(f"rank {empty}: point.jacobian() has the rows of its rank")


def test_without_processes_the_way_out_is_torchrun():
    with pytest.raises(thalweg.RanksError, match=r"torchrun and call .*init_process_group"):
        SHELF["mlp"]().problem.across_ranks()


# -- the recipe ------------------------------------------------------------------------------


def test_the_example_runs_under_torchrun():
    """Its numbers, to ten digits, do not depend on the number of processes."""
    script = str(ROOT / "examples" / "spectrum_on_many_machines.py")
    launcher = "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"
    ran = [run(*launcher, size, script, timeout=100) for size in ("1", "2")]
    assert all(r.returncode == 0 for r in ran), ran[0].stderr + ran[1].stderr
    assert ran[0].stdout == ran[1].stdout
    assert re.match(
        r"loss 2\.3\d+\nlargest eigenvalues( \d\.\d+){3}\ntrace \d+\.\d+ ± ", ran[0].stdout
    )
