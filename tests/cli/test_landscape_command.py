"""thalweg landscape, as typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app
from thalweg.pictures._evaluate import Evaluator

FACTORIES = Path(__file__).parent / "factories.py"


def run(*arguments):
    return CliRunner().invoke(app, ["landscape", *map(str, arguments)])


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_page_and_a_card(tmp_path):
    out = tmp_path / "page.html"
    result = run(f"{FACTORIES}:healthy", "--out", out, "--cells", "5")
    assert result.exit_code == 0, result.output
    assert "quadratic model" in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_paths_and_axes_as_strict_json(tmp_path):
    arguments = ("--train", "12", "--optimizer", "adam", "--optimizer", "saddle-free:1")
    axes = ("--along", "path", "--along", "top", "--along", "random")
    result = run(
        f"{FACTORIES}:talkative", "--out", tmp_path / "p.html", "--json", "--cells", "3",
        "--samples", "32", *arguments, *axes,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout, parse_constant=refuse)
    assert told["schema"] == "thalweg/landscape/1"
    assert [track["name"] for track in told["tracks"]] == ["adam", "saddle-free:1"]
    assert len(told["axes"]) == 3
    assert "vector" not in told["axes"][0]
    assert len(told["values"]) == len(told["values"][0]) == len(told["values"][0][0]) == 3
    assert (told["num_samples"], told["num_all_samples"]) == (32, 60)
    assert result.stderr == "building the network\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--along", "path"], "add --train 200"),
        (["--optimizer", "adam"], "add --train 200"),
        (["--train", "5", "--optimizer", "abacus"], "give one of sgd, momentum"),
        (["--train", "5", "--optimizer", "sgd:fast"], "give one such as sgd:0.1"),
        (["--train", "-5"], "give a number of steps"),
        (["--along", "top"] * 4, "up to three axes"),
        (["--along", "gradient"] * 2, "the gradient is one"),
        (["--cells", "1"], "give a number from 2"),
        (["--limit", "-1"], "low < high"),
        (["--samples", "61"], "the problem has 60 samples"),
        (["--seed", "-1"], "from 0 to"),
        (["--out", "no/such/folder.html"], "create it"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(f"{FACTORIES}:healthy", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_writes_the_cells_read_by_then(tmp_path, monkeypatch):
    original = Evaluator.__call__

    def interrupted(self, places):
        if self.num_evaluations > 700:
            raise KeyboardInterrupt
        return original(self, places)

    monkeypatch.setattr(Evaluator, "__call__", interrupted)
    out = tmp_path / "page.html"
    result = run(f"{FACTORIES}:healthy", "--out", out)
    assert result.exit_code == 130
    assert "the cells read by then are written" in result.stderr
    assert "Interrupted with" in out.read_text(encoding="utf-8")
