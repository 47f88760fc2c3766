"""thalweg examine, as typed: exit codes, JSON, files, and what is said where."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import thalweg
from examinations import without_seconds
from thalweg.cli._app import app
from thalweg.cli._factory import problem_from

FACTORIES = Path(__file__).parent / "factories.py"


def examine(*arguments):
    return CliRunner().invoke(app, ["examine", *map(str, arguments)])


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_healthy_network_ends_with_0(tmp_path):
    out = tmp_path / "page.html"
    result = examine(f"{FACTORIES}:healthy", "--out", out, "--budget", "1500g")
    assert result.exit_code == 0, result.output
    assert "Nothing ails this training" in result.stdout
    assert "\x1b[" not in result.stdout
    assert out.name in result.stdout
    assert out.read_text(encoding="utf-8").startswith("<!doctype html>")


def test_findings_end_with_1_and_json_is_strict(tmp_path):
    out = tmp_path / "page.html"
    arguments = ("--out", out, "--budget", "1500g", "--seed", "3", "--json")
    result = examine(f"{FACTORIES}:sick", *arguments)
    assert result.exit_code == 1
    told = json.loads(result.stdout, parse_constant=refuse)
    assert told["schema"] == "thalweg/examination/1"
    assert told["seed"] == 3
    assert told["is_healthy"] is False
    assert "learning rate too small" in [f["ailment"] for f in told["findings"]]
    assert result.stderr == ""
    assert out.exists()


def test_parameters_that_do_not_enter_are_said_not_refused(tmp_path):
    arguments = ("--out", tmp_path / "p.html", "--budget", "1500g", "--json")
    result = examine(f"{FACTORIES}:unused", *arguments)
    assert result.exit_code in (0, 1), result.output
    (said,) = [s for s in json.loads(result.stdout)["assumptions"] if "do not enter" in s]
    assert said.startswith("2 parameter(s)")
    assert "'forgotten.weight', 'forgotten.bias'" in said


def test_the_same_seed_and_budget_in_gradients_give_the_same_examination(tmp_path):
    def told():
        out = tmp_path / "page.html"
        result = examine(f"{FACTORIES}:sick", "--out", out, "--budget", "1500g", "--json")
        return without_seconds(json.loads(result.stdout))

    assert told() == told()


def test_what_a_factory_prints_is_no_part_of_the_json(tmp_path):
    arguments = ("--out", tmp_path / "p.html", "--budget", "1500g", "--json")
    result = examine(f"{FACTORIES}:talkative", *arguments)
    assert json.loads(result.stdout)["is_healthy"]
    assert "building the network" in result.stderr


def test_params_choose_whose_curvature_is_read(tmp_path):
    arguments = ("--out", tmp_path / "p.html", "--budget", "1500g", "--json", "--params", "2.*")
    result = examine(f"{FACTORIES}:healthy", *arguments)
    assert json.loads(result.stdout)["card"]["num_parameters"] == 8 * 3 + 3


@pytest.mark.parametrize("name", ["healthy", "ready_made"])
def test_a_factory_or_a_problem(name):
    assert isinstance(problem_from(f"{FACTORIES}:{name}"), thalweg.Problem)


def test_a_module_is_found_from_the_current_folder(tmp_path, monkeypatch):
    (tmp_path / "beside.py").write_text("SIZE = 4\n")
    text = FACTORIES.read_text().replace(
        "import torch\n", "import torch\nfrom beside import SIZE\n", 1
    )
    (tmp_path / "of_mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    path_before = list(sys.path)
    assert isinstance(problem_from("of_mine:healthy"), thalweg.Problem)
    assert sys.path == path_before
    for name in ("beside", "of_mine"):
        sys.modules.pop(name)
    monkeypatch.chdir("/")
    assert isinstance(problem_from(f"{tmp_path / 'of_mine.py'}:healthy"), thalweg.Problem)
    for name in ("beside", "of_mine"):
        sys.modules.pop(name)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["beside.py", "of_mine.py"]


def run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "thalweg", *arguments], capture_output=True, text=True, check=False
    )


def test_python_m_thalweg_knows_its_version():
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"thalweg {thalweg.__version__}\n")


def test_a_real_process_says_one_sentence_and_ends_with_2(tmp_path):
    result = run("examine", f"{FACTORIES}:mixed_dtypes", "--out", str(tmp_path / "page.html"))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("thalweg: parameters mix dtypes")
    assert result.stderr.count("\n") == 1


def test_help_names_the_exit_codes():
    result = CliRunner().invoke(app, ["examine", "--help"])
    assert result.exit_code == 0
    assert "could not examine" in result.output
    assert CliRunner().invoke(app, []).output.count("examine") >= 1
