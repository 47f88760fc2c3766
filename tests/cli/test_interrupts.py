"""Ctrl-C: what was finished is written and says that it is partial; or stderr says: nothing was."""

import os
import subprocess
import sys

import pytest

FACTORY = '''
import os, signal
import torch, thalweg
from torch import nn

calls = 0


class Interrupting(nn.Sequential):
    """Sends its own process SIGINT, as Ctrl-C does, at one of its passes."""

    def forward(self, x):
        global calls
        calls += 1
        if calls == {at}:
            os.kill(os.getpid(), signal.SIGINT)
        return super().forward(x)


def problem(seed=0):
    torch.manual_seed(seed)
    x = torch.rand(48, 4, dtype=torch.float64) - 0.5
    hidden = [m for _ in range(5) for m in (nn.Linear(4, 4), nn.Sigmoid())]
    model = Interrupting(*hidden, nn.Linear(4, 2)).double()
    return thalweg.Problem(
        model, nn.functional.cross_entropy, (x, (x[:, 0] > 0).long()), batch_size=16,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1), name="a network",
    )
'''


def interrupted(command, at, tmp_path, *more):
    (tmp_path / "sick.py").write_text(FACTORY.format(at=at))
    typed = [sys.executable, "-m", "thalweg", command, "sick.py:problem", *more]
    if "--out" not in more:
        typed += ["--out", "page.html"]
    environment = {**os.environ, "COLUMNS": "100"}
    run = subprocess.run(
        typed, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
    )
    assert run.returncode == 130, run.stderr
    assert "Traceback" not in run.stderr
    return run


CASES = {
    "examine": (900, "Interrupted: something ails", ("--budget", "430g")),
    "compare": (
        700,
        "Interrupted: ",
        ("--budget", "20g", "--trials", "1", "--optimizers", "adam,sgd"),
    ),
    "critical": (1500, "partial: ", ("--starts", "6", "--max-gradients", "3000")),
    "flow": (150, "Interrupted at t =", ("--time", "100000")),
}


@pytest.mark.parametrize("command", CASES)
def test_what_was_finished_is_written_and_says_that_it_is_partial(command, tmp_path):
    at, said, options = CASES[command]
    run = interrupted(command, at, tmp_path, *options)
    assert "thalweg: interrupted" in run.stderr
    assert "is written" in run.stderr
    assert said in " ".join(run.stdout.split())
    assert said in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("command", "at"), [("examine", 3), ("spectrum", 4)])
def test_where_nothing_was_finished_nothing_is_written(command, at, tmp_path):
    run = interrupted(command, at, tmp_path)
    assert run.stderr.strip() == "thalweg: interrupted; nothing was written"
    assert run.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix) == ["sick.py"]
