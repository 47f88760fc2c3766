"""thalweg signal, as typed: a page, a card, JSON, and what cannot be read."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app

FACTORIES = Path(__file__).parent / "factories.py"


def run(*arguments):
    return CliRunner().invoke(app, ["signal", *map(str, arguments)])


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_page_and_a_card(tmp_path):
    out = tmp_path / "page.html"
    result = run(f"{FACTORIES}:healthy", "--out", out, "--top", "2")
    assert result.exit_code == 0, result.output
    assert "The gradient reaches every layer" in result.stdout
    assert "Singular values of the Jacobians" in result.stdout
    assert out.name in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_strict_json_and_nothing_else(tmp_path):
    arguments = ("--out", tmp_path / "p.html", "--json", "--seed", "7", "--sample", "3")
    result = run(f"{FACTORIES}:talkative", *arguments)
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout, parse_constant=refuse)
    assert told["schema"] == "thalweg/propagation/1"
    assert (told["seed"], told["jacobians"]["sample"]) == (7, 3)
    assert result.stderr == "building the network\n"


def test_what_is_not_finite_is_traced_to_its_birth(tmp_path):
    result = run(f"{FACTORIES}:not_finite", "--out", tmp_path / "p.html")
    assert result.exit_code == 0, result.output
    assert "Not finite" in result.stdout
    assert "Where it is born" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_module:f"], "no module 'no_such_module'"),
        ([f"{FACTORIES}:healthy", "--device", "abacus"], "give one of cpu"),
        ([f"{FACTORIES}:healthy", "--out", "no/such/folder.html"], "create it"),
        ([f"{FACTORIES}:healthy", "--sample", "100000"], "give a number from 0 to"),
        ([f"{FACTORIES}:healthy", "--top", "0"], "give whole numbers of 1 or more"),
        ([f"{FACTORIES}:healthy", "--seed", "-1"], "from 0 to"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []
