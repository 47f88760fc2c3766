"""thalweg compare: answers, refusals, and what Ctrl-C leaves."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import thalweg.race._run
from thalweg.cli._app import app
from thalweg.race import SHELF

FACTORIES = Path(__file__).parent / "factories.py"


def run(*arguments):
    return CliRunner().invoke(app, ["compare", *map(str, arguments)])


def test_json_and_page(tmp_path):
    out = tmp_path / "compare.html"
    result = run(
        f"{FACTORIES}:healthy", "--optimizers", "adam, sgd", "--budget", "4g", "--seeds", "1",
        "--trials", "2", "--target", "1e-3", "--batch-size", "20", "--out", out, "--json",
    )  # fmt: skip
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["schema"] == "thalweg/comparison/1"
    assert found["batch_size"] == 20
    assert found["target"] == 1e-3
    assert {entry["name"] for entry in found["entries"]} == {"adam", "sgd"}
    assert "optimizers compared" in out.read_text(encoding="utf-8")


def test_the_terminal_gets_a_table(tmp_path):
    out = tmp_path / "compare.html"
    result = run(
        f"{FACTORIES}:healthy", "--optimizers", "adam,sgd", "--budget", "2g", "--seeds", "1",
        "--trials", "1", "--out", out,
    )  # fmt: skip
    assert result.exit_code == 0
    assert "Take " in result.stdout
    assert "Results" in result.stdout


def test_all_names_are_listed():
    result = run("--list")
    assert result.exit_code == 0
    assert [line.split(":")[0] for line in result.stdout.splitlines()] == list(SHELF)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--optimizers", "adma"], "there is no optimizer 'adma'; the names are"),
        (["--optimizers", ","], "no optimizer is named"),
        (["--optimizers", "adam,adam"], "named twice"),
        (["--budget", "a while"], "60s or 2m"),
        (["--seeds", "0"], "seeds=0"),
        (["--trials", "99"], "99 are to be tried"),
        (["--batch-size", "0"], "batch_size=0"),
        (["--out", "no/such/folder.html"], "create it"),
        (["--device", "abacus"], "give one of cpu"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(f"{FACTORIES}:healthy", *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_writes_what_is_finished(tmp_path, monkeypatch):
    counted = []
    original = thalweg.race._run.run

    def interrupted(*arguments, **settings):
        counted.append(arguments)
        if len(counted) == 4:  # two trials, one run that counts, and then
            raise KeyboardInterrupt
        return original(*arguments, **settings)

    monkeypatch.setattr("thalweg.race._compare.run", interrupted)
    out = tmp_path / "compare.html"
    arguments = (f"{FACTORIES}:healthy", "--optimizers", "adam,sgd", "--budget", "2g")
    result = run(*arguments, "--trials", "1", "--out", out)
    assert result.exit_code == 130
    assert "what was finished is written" in result.stderr
    assert "Interrupted" in out.read_text(encoding="utf-8")
    counted.clear()
    counted.extend([None, None, None])
    nothing = tmp_path / "nothing.html"
    result = run(*arguments, "--out", nothing)
    assert result.exit_code == 130
    assert not nothing.exists()
