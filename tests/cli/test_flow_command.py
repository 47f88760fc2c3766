"""thalweg flow, as typed: files, JSON, methods, refusals, and Ctrl-C."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app

FACTORIES = Path(__file__).parent / "factories.py"


def run(*arguments):
    return CliRunner().invoke(app, ["flow", *map(str, arguments)])


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_page_and_a_card(tmp_path):
    out = tmp_path / "page.html"
    result = run(f"{FACTORIES}:healthy", "--time", "1", "--lr", "0.1", "--adam", "0.01", "-o", out)
    assert result.exit_code == 0, result.output
    assert "The loss falls from" in result.stdout
    for said in ("descent, lr 0.1", "momentum 0.9", "Adam, lr 0.01"):
        assert said in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("method", ["exponential-adams", "chebyshev", "rk4", "dopri5"])
def test_each_method_as_strict_json(method, tmp_path):
    arguments = ("--time", "0.5", "--method", method, "--tol", "1e-4", "--json", "--seed", "7")
    result = run(f"{FACTORIES}:talkative", *arguments, "--out", tmp_path / "p.html")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout, parse_constant=refuse)
    assert told["time"] == 0.5
    assert told["seed"] == 7
    assert told["is_finished"] is True
    assert result.stderr == "building the network\n"


def test_not_to_the_end_is_exit_code_one(tmp_path):
    arguments = ("--time", "50", "--max-gradients", "5", "--out", tmp_path / "p.html")
    result = run(f"{FACTORIES}:healthy", *arguments)
    assert result.exit_code == 1
    assert "Not finished" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--time", "-1"], "give a positive, finite time"),
        (["--tol", "0"], "give a local error"),
        (["--method", "exact"], "take ExponentialAdams()"),
        (["--gradient-below", "0"], "give a positive norm"),
        (["--lr", "0"], "give a positive learning rate"),
        (["--params", "layers.*"], "the names are 0.weight"),
        (["--seed", "-1"], "from 0 to"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(f"{FACTORIES}:healthy", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_leaves_a_partial_page(monkeypatch, tmp_path):
    from thalweg.gradient_flow._flow import _Run

    taken = _Run._taken

    def interrupted(self, step, before):
        taken(self, step, before)
        if self.num_steps == 3:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(_Run, "_taken", interrupted)
    out = tmp_path / "page.html"
    result = run(f"{FACTORIES}:healthy", "--out", out)
    assert result.exit_code == 130
    assert "the flow up to there is written" in result.stderr
    assert "Not finished" in out.read_text(encoding="utf-8")
