"""The command: formats, files, standard input, refusals."""

import json

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app

TEXT = "w = 4; x = 1.5; y = 1\nh = sigmoid(w * x)\nL = 1/2 (h - y)^2\n"


def worked(*arguments, text=TEXT):
    return CliRunner().invoke(app, ["worked", *map(str, arguments)], input=text)


def test_a_table_from_standard_input():
    result = worked("-")
    assert result.exit_code == 0
    assert "∂L/∂w" in result.stdout


@pytest.mark.parametrize(
    ("format_", "begins"),
    [("latex", "% written by thalweg"), ("markdown", "<!-- written by thalweg"), ("json", "{")],
)
def test_a_format_on_standard_output(format_, begins):
    result = worked("-", "--format", format_)
    assert result.exit_code == 0
    assert result.stdout.startswith(begins)
    if format_ == "json":
        assert json.loads(result.stdout)["loss"] == "L"


@pytest.mark.parametrize("name", ["sheet.tex", "sheet.md", "sheet.json", "sheet.txt", "sheet.html"])
def test_the_ending_of_the_file_says_the_format(name, tmp_path):
    out = tmp_path / name
    for _ in range(2):  # its own file is written over
        assert worked("-", "--out", out).exit_code == 0
    text = out.read_text()
    assert {
        "tex": r"\begin{align*}",
        "md": "$$",
        "json": '"nodes"',
        "txt": "∂L/∂w",
        "html": "<svg",
    }[name.split(".")[1]] in text


def test_a_module_of_a_factory(tmp_path):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\n"
        "def made():\n    return nn.Linear(2, 1), torch.ones(2), torch.ones(1), nn.MSELoss()\n"
    )
    result = worked(f"{tmp_path / 'net.py'}:made", "--format", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["loss"] == "L"


REFUSED = {
    "no text": ("", "there is nothing to read"),
    "code": ("import os; os.system('true')", "means nothing in a formula"),
    "power": ("x = 9^9^9\nL = x", "beyond float64"),
    "deep": ("L = " + "(" * 10_000, "nested"),
    "matrix": ("x = [" + "1, " * 20_000 + "1]\nL = sum(x)", "characters"),
    "long": ("x" * 300_000, "more than 200,000 bytes"),
    "no value": ("L = a", "a has no value"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_worked_out_is_one_sentence(case):
    text, said = REFUSED[case]
    result = worked("-", text=text)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stderr.count("\n") == 1


def test_files_are_refused_by_name(tmp_path):
    assert "there is no file" in worked(tmp_path / "none.txt").stderr
    binary = tmp_path / "binary.txt"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in worked(binary).stderr
    foreign = tmp_path / "mine.md"
    foreign.write_text("my own page")
    result = worked("-", "--out", foreign)
    assert result.exit_code == 2
    assert "will not overwrite" in result.stderr
    assert foreign.read_text() == "my own page"
    assert "no directory" in worked("-", "--out", tmp_path / "none" / "x.md").stderr
    assert "whole number from 2" in worked("-", "--digits", 40).stderr
    assert worked("no_such_module:made").exit_code == 2
