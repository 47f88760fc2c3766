"""thalweg spectrum, as typed: files, JSON, refusals, silence, and Ctrl-C."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from thalweg import load
from thalweg.cli._app import app

FACTORIES = Path(__file__).parent / "factories.py"


def run(*arguments):
    return CliRunner().invoke(app, ["spectrum", *map(str, arguments)])


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_page_a_card_and_the_eigenpairs(tmp_path):
    out, kept = tmp_path / "page.html", tmp_path / "pairs.npz"
    result = run(f"{FACTORIES}:healthy", "--out", out, "--save", kept, "--top", "2")
    assert result.exit_code == 0, result.output
    assert "directions curve down" in result.stdout
    assert out.name in result.stdout
    assert "\x1b[" not in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert load(kept).top.values.shape == (2,)


@pytest.mark.parametrize(
    ("matrix", "name"),
    [
        ("hessian", "Hessian"),
        ("ggn", "GGN"),
        ("fisher", "Fisher information"),
        ("empirical-fisher", "empirical Fisher information"),
    ],
)
def test_each_matrix_as_strict_json(matrix, name, tmp_path):
    out = tmp_path / "p.html"
    arguments = ("--out", out, "--matrix", matrix, "--json", "--dtype", "float64")
    result = run(f"{FACTORIES}:talkative", *arguments, "--seed", "7", "--params", "2.*")
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout, parse_constant=refuse)
    assert told["matrix"] == name
    assert told["num_parameters"] == 8 * 3 + 3
    assert told["seed"] == 7
    assert "float64" in told["machine"]
    assert result.stderr == "building the network\n"


def test_globs_repeat(tmp_path):
    arguments = ("--out", tmp_path / "p.html", "--json", "--params", "2.bias", "--params", "0.bias")
    result = run(f"{FACTORIES}:healthy", *arguments)
    assert json.loads(result.stdout)["num_parameters"] == 3 + 8


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_module:f"], "no module 'no_such_module'"),
        ([f"{FACTORIES}:healthy", "--device", "abacus"], "give one of cpu"),
        ([f"{FACTORIES}:healthy", "--params", "layers.*"], "the names are 0.weight"),
        ([f"{FACTORIES}:healthy", "--out", "no/such/folder.html"], "create it"),
        ([f"{FACTORIES}:healthy", "--out", f"{FACTORIES}"], "will not overwrite"),
        ([f"{FACTORIES}:healthy", "--save", "pairs.txt"], "give a path that does"),
        ([f"{FACTORIES}:healthy", "--save", "no/such/pairs.npz"], "a directory that exists"),
        ([f"{FACTORIES}:healthy", "--top", "0"], "give k between 1 and 67"),
        ([f"{FACTORIES}:healthy", "--seed", "-1"], "from 0 to"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = FACTORIES.read_bytes()
    result = run(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []
    assert FACTORIES.read_bytes() == before


def test_a_checkpoint_is_not_overwritten(tmp_path):
    path = tmp_path / "model.npz"
    torch.save({"weight": torch.ones(3)}, path)
    before = path.read_bytes()
    result = run(f"{FACTORIES}:healthy", "--out", tmp_path / "p.html", "--save", path)
    assert result.exit_code == 2
    assert "will not overwrite" in result.stderr
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["model.npz"]


def test_what_nobody_foresaw(monkeypatch, tmp_path):
    def fails(*arguments, **settings):
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr("thalweg.cli._spectrum.spectrum", fails)
    arguments = (f"{FACTORIES}:healthy", "--out", tmp_path / "page.html")
    result = run(*arguments)
    assert result.exit_code == 2
    assert "could not read the spectrum: RuntimeError: a wheel came off" in result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in run(*arguments, "--debug").stderr
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_in_the_middle_leaves_nothing(monkeypatch, tmp_path):
    from thalweg.surface import SurfaceOperator

    product = SurfaceOperator._apply

    def interrupted(self, V):
        product(self, V)
        raise KeyboardInterrupt

    monkeypatch.setattr(SurfaceOperator, "_apply", interrupted)
    kept = tmp_path / "pairs.npz"
    result = run(f"{FACTORIES}:healthy", "--out", tmp_path / "page.html", "--save", kept)
    assert result.exit_code == 130
    assert result.stderr == "thalweg: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []


def test_a_real_process_is_silent_through_a_pipe(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "thalweg", "spectrum", f"{FACTORIES}:healthy", "--json"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1", "FORCE_COLOR": "1"},
    )  # fmt: skip
    assert result.returncode == 0
    assert result.stderr == ""
    assert json.loads(result.stdout)["matrix"] == "Hessian"
    assert [p.name for p in tmp_path.iterdir()] == ["spectrum.html"]


def test_help_names_matrices_and_exit_codes():
    result = CliRunner().invoke(app, ["spectrum", "--help"])
    assert result.exit_code == 0
    assert "empirical-fisher" in result.output
    assert "could not be read" in result.output
