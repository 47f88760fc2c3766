"""Ctrl-C: what was finished is written and says that it is partial; or stderr says: nothing was."""

import json
import os
import subprocess
import sys

import jsonschema
import pytest

from thalweg.cli._commands import COMMANDS
from thalweg.cli._schema import schema_text

FACTORY = '''
import os, signal
import torch, thalweg
from torch import nn

# What is started in the background of a shell ignores Ctrl-C, and so do its children.
signal.signal(signal.SIGINT, signal.default_int_handler)
calls = 0


def count():
    """Sends its own process SIGINT, as Ctrl-C does, at one of the passes."""
    global calls
    calls += 1
    if calls == {at}:
        os.kill(os.getpid(), signal.SIGINT)


class Interrupting(nn.Sequential):
    def forward(self, x):
        count()
        return super().forward(x)


class Through(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, g):
        count()
        return g.clone()


class InterruptingBackward(nn.Sequential):
    def forward(self, x):
        return Through.apply(super().forward(x))


def problem(seed=0):
    torch.manual_seed(seed)
    hidden = [m for _ in range(5) for m in (nn.Linear(4, 4), nn.Sigmoid())]
    return of(Interrupting(*hidden, nn.Linear(4, 2)))


def wide():
    """Too large to be multiplied out; each product goes back through the graph once."""
    torch.manual_seed(0)
    return of(InterruptingBackward(nn.Linear(4, 160), nn.Sigmoid(), nn.Linear(160, 2)))


def saddle():
    """Theta_0^2 - theta_1^2 + theta_1^4 at its saddle; each reading is a pass."""
    def loss(theta):
        count()
        return theta[0] ** 2 - theta[1] ** 2 + theta[1] ** 4

    return thalweg.problems.from_function(loss, torch.zeros(2, dtype=torch.float64))


def of(model):
    model = model.double()
    x = torch.rand(48, 4, dtype=torch.float64) - 0.5
    return thalweg.Problem(
        model, nn.functional.cross_entropy, (x, (x[:, 0] > 0).long()), batch_size=16,
        optimizer=lambda params: torch.optim.SGD(params, lr=0.1), name="a network",
    )
'''


def interrupted(command, at, tmp_path, *more, factory="problem"):
    (tmp_path / "sick.py").write_text(FACTORY.format(at=at))
    typed = [sys.executable, "-m", "thalweg", command, f"sick.py:{factory}", *more]
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
    "examine": ("problem", 900, "Interrupted: something ails", ("--budget", "430g")),
    "spectrum": ("wide", 100, "Interrupted: ", ()),
    "signal": ("problem", 14, "Interrupted: ", ()),
    "critical": ("problem", 1500, "partial: ", ("--starts", "6", "--max-gradients", "3000")),
    "escape": ("saddle", 60, "Interrupted: ", ()),
    "landscape": ("problem", 60, "Interrupted with ", ("--cells", "301")),
    "compare": (
        "problem",
        700,
        "Interrupted: ",
        ("--budget", "20g", "--trials", "1", "--optimizers", "adam,sgd"),
    ),
    "flow": ("problem", 150, "Interrupted at t =", ("--time", "100000")),
}


def test_every_command_that_reads_a_network_is_interrupted():
    assert set(CASES) == {name for name in COMMANDS if name not in ("worked", "derive", "check")}


@pytest.mark.parametrize("command", CASES)
def test_what_was_finished_is_written_and_says_that_it_is_partial(command, tmp_path):
    factory, at, said, options = CASES[command]
    run = interrupted(command, at, tmp_path, *options, factory=factory)
    assert "thalweg: interrupted" in run.stderr
    assert "written" in run.stderr
    assert "nothing" not in run.stderr
    assert said in " ".join(run.stdout.split())
    assert said in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("command", "at"), [("examine", 3), ("spectrum", 4), ("signal", 2)])
def test_where_nothing_was_finished_nothing_is_written(command, at, tmp_path):
    run = interrupted(command, at, tmp_path)
    assert run.stderr.strip() == "thalweg: interrupted; nothing was written"
    assert run.stdout == ""
    assert sorted(p.name for p in tmp_path.iterdir() if p.suffix) == ["sick.py"]


@pytest.mark.parametrize("command", CASES)
def test_the_json_of_what_was_broken_off_says_so_too(command, tmp_path):
    factory, at, _, options = CASES[command]
    run = interrupted(command, at, tmp_path, *options, "--json", factory=factory)
    told = json.loads(run.stdout)
    assert told["is_partial"] is True
    jsonschema.Draft202012Validator(json.loads(schema_text(command))).validate(told)
    if command in ("spectrum", "signal"):
        assert "interrupted before it" in told["omissions"].values()
