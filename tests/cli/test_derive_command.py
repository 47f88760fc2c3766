"""The command: values, formats, refusals."""

import json

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app


def derive(*arguments):
    return CliRunner().invoke(app, ["derive", *map(str, arguments)])


def test_a_newton_step():
    result = derive("(x-1)(x-3)", "--at", "x=4")
    assert result.exit_code == 0
    assert "4 + (−2) = 2" in result.stdout
    assert "agrees with autograd" in result.stdout.lower()


def test_formats(tmp_path):
    record = json.loads(derive("1/2 w^T A w", "--symmetric", "A", "--format", "json").stdout)
    assert record["findings"][0]["formula"]["text"] == "A w"
    assert r"\nabla f" in derive("||w||^2", "--format", "latex").stdout
    for name in ("d.html", "d.md", "d.tex", "d.txt"):
        assert derive("σ(x)", "--order", 3, "--out", tmp_path / name).exit_code == 0
    assert "<html" in (tmp_path / "d.html").read_text()


def test_values_of_vectors():
    result = derive("||w||^2", "--at", "w=[3, -4]")
    assert "[6, -8]" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("9^9^9",), "no variable"),
        (("x^2", "--at", "4"), "--at x=4"),
        (("x^2", "--at", "x=(" + "(" * 500), "nested"),
        (("__import__('os')",), "means nothing"),
        (("x^2", "--order", "0"), "from 1 to 12"),
    ],
)
def test_refusals_are_one_sentence(arguments, said):
    result = derive(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
