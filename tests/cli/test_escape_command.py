"""thalweg escape, as typed."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app

FACTORIES = Path(__file__).parent / "factories.py"
SADDLE = "thalweg.problems:strict_saddle"


def run(*arguments):
    return CliRunner().invoke(app, ["escape", *map(str, arguments)])


def test_a_page_and_a_card(tmp_path):
    out = tmp_path / "page.html"
    result = run(SADDLE, "--out", out, "--distances", "1e-2")
    assert result.exit_code == 0, result.output
    assert "Newton is drawn into the saddle" in " ".join(result.stdout.replace("│", "").split())
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_strict_json(tmp_path):
    out = tmp_path / "p.html"
    result = run(SADDLE, "--out", out, "--distances", "1e-2,1e-4", "--json", "--lr", "0.25")
    told = json.loads(result.stdout)
    assert (told["schema"], told["index"], told["lr"]) == ("thalweg/escape/1", 1, 0.25)
    assert len(told["runs"]) == 12
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--distances", "near"], "give them by commas"),
        (["--distances", "0.5"], "below the radius"),
        (["--radius", "0"], "give a positive number"),
        (["--seed", "-1"], "from 0 to"),
        (["--out", "no/such/folder.html"], "create it"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(SADDLE, *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_a_network_far_from_any_saddle_is_refused_or_led_to_one(tmp_path):
    result = run(f"{FACTORIES}:nothing_to_train", "--out", tmp_path / "p.html")
    assert result.exit_code == 2
    assert "no trainable parameter" in result.stderr
