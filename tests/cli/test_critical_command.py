"""thalweg critical, as typed: files, JSON, refusals, resuming, and Ctrl-C."""

import json

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app

TARGET = "thalweg.problems:quadratic_saddle"
FAST = ("--starts", "3", "--steps", "30")


def run(*arguments):
    return CliRunner().invoke(app, ["critical", *map(str, arguments)])


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_page_and_a_table(tmp_path):
    out = tmp_path / "page.html"
    result = run(TARGET, *FAST, "--out", out)
    assert result.exit_code == 0, result.output
    assert "3 of 3 walks ended at certified critical points" in result.stdout
    assert out.name in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize("method", ["trust-region", "newton-mr", "damped-newton", "gradient-norm"])
def test_each_method_as_strict_json(method, tmp_path):
    out = tmp_path / "p.html"
    result = run(TARGET, *FAST, "--method", method, "--json", "--out", out, "--random-starts")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout, parse_constant=refuse)
    assert [point["status"] for point in told["points"]] == ["certified"] * 3
    assert [point["inertia"]["negative"] for point in told["points"]] == [1] * 3


def test_kept_and_resumed(tmp_path):
    kept, out = tmp_path / "walks.npz", tmp_path / "p.html"
    settings = (TARGET, *FAST, "--out", out, "--json")
    first = run(*settings, "--save", kept)
    again = run(*settings, "--resume", kept)
    assert first.exit_code == again.exit_code == 0
    assert json.loads(first.stdout)["points"] == json.loads(again.stdout)["points"]


def test_ctrl_c_writes_what_is_finished(tmp_path, monkeypatch):
    from thalweg.critical._walks import Walks

    take = Walks.take

    def interrupted(self, number, start, deflation):
        if number == 2:
            raise KeyboardInterrupt
        return take(self, number, start, deflation)

    monkeypatch.setattr(Walks, "take", interrupted)
    out = tmp_path / "p.html"
    result = run(TARGET, *FAST, "--out", out)
    assert result.exit_code == 130
    assert "partial: 1 of 3 walks are missing" in result.stdout
    assert "partial" in out.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed", "-1"], "from 0 to"),
        (["--starts", "0"], "at least one of each"),
        (["--resume", "no.npz"], "there is no no.npz to resume"),
        (["--save", "walks.txt"], "ends in .npz"),
        (["--save", "a.npz", "--resume", "b.npz"], "leave --save a.npz out"),
        (["--tol", "0"], "give positive numbers"),
        (["--out", "no/such/folder.html"], "create it"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(TARGET, *arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_search_is_not_begun_over_another(tmp_path):
    kept = tmp_path / "walks.npz"
    assert run(TARGET, *FAST, "--out", tmp_path / "p.html", "--save", kept).exit_code == 0
    result = run(TARGET, *FAST, "--out", tmp_path / "p.html", "--save", kept)
    assert result.exit_code == 2
    assert "go on with it by --resume" in result.stderr
