"""thalweg in processes of its own: pipes, folders, and files beside the one that is named."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import thalweg
from thalweg import ProblemError
from thalweg.cli._factory import problem_from

FACTORIES = Path(__file__).parent / "factories.py"


def run(*arguments, cwd, **environment):
    return subprocess.run(
        [sys.executable, "-m", "thalweg", *map(str, arguments)],
        capture_output=True, text=True, check=False, cwd=cwd,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )  # fmt: skip


def test_a_file_elsewhere_with_its_neighbours(tmp_path):
    """Run from another folder: the neighbour is imported, and no __pycache__ is left there."""
    folder, here = tmp_path / "project", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    (folder / "beside.py").write_text("WIDTH = 8\n")
    text = FACTORIES.read_text().replace("nn.Linear(4, 8)", "nn.Linear(4, WIDTH)", 1)
    (folder / "of mine.py").write_text(f"from beside import WIDTH\n{text}")
    result = run("examine", folder / "of mine.py:healthy", "--budget", "1000g", cwd=here)
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""
    assert "\x1b" not in result.stdout
    assert sorted(p.name for p in folder.iterdir()) == ["beside.py", "of mine.py"]
    assert [p.name for p in here.iterdir()] == ["report.html"]


def test_json_through_a_pipe_is_one_document(tmp_path):
    target = f"{FACTORIES}:healthy"
    arguments = ("examine", target, "--budget", "1000g", "--json", "--device", "cpu")
    result = run(*arguments, cwd=tmp_path, FORCE_COLOR="1")
    assert result.returncode == 0
    assert result.stderr == ""
    assert json.loads(result.stdout)["is_healthy"] is True


def test_thalweg_alone_shows_help_without_escape_codes(tmp_path):
    result = run(cwd=tmp_path, NO_COLOR="1")
    assert "Usage" in result.stdout + result.stderr
    assert "examine" in result.stdout + result.stderr
    assert "\x1b" not in result.stdout + result.stderr
    assert list(tmp_path.iterdir()) == []


# -- factories ------------------------------------------------------------------------------


@pytest.fixture
def written(tmp_path):
    """A file of factories, by its name on the command line."""

    def write(text):
        path = tmp_path / "given_here.py"
        path.write_text(f"import torch\nfrom torch import nn\nimport thalweg\n{text}")
        return f"{path}:f"

    yield write
    sys.modules.pop("given_here", None)


LINEAR = (
    "thalweg.Problem(nn.Linear(2, 1), nn.functional.mse_loss, (torch.ones(3, 2), torch.ones(3, 1)))"
)


@pytest.mark.parametrize(
    "text",
    [
        f"def f(width=3): return {LINEAR}",
        f"f = lambda: {LINEAR}",
        f"class f:\n    def __new__(cls): return {LINEAR}",
        f"import functools\nf = functools.partial(lambda width: {LINEAR}, 3)",
        f"class C:\n    @staticmethod\n    def make(): return {LINEAR}\nf = C.make",
        f"f = {LINEAR}",
    ],
    ids=["defaults", "lambda", "class", "partial", "static method", "a problem"],
)
def test_what_counts_as_a_factory(text, written):
    assert isinstance(problem_from(written(text)), thalweg.Problem)


def test_a_factory_within_a_class(written):
    target = written(f"class Shelf:\n    @staticmethod\n    def f(): return {LINEAR}")
    assert isinstance(problem_from(target.replace(":f", ":Shelf.f")), thalweg.Problem)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(): return None", "returned a value of type NoneType"),
        ("def f(): return nn.Linear(2, 1)", "returned a value of type Linear"),
        ("def f():\n    yield 1", "returned a value of type generator"),
        ("f = 3", "is a value of type int"),
        ("f = nn", "of type module"),
        ("def f(): return thalweg.Problem(nn.Linear(2, 1), (1, 2), 3)", "the loss is a tuple"),
        ("def f(): raise ValueError('first\\nsecond')", "ValueError: first at given_here.py:4"),
        ("def f(): raise SystemExit", "SystemExit at given_here.py:4"),
        ("def g(): pass", "has no 'f'; it has g"),
        ("", "has no 'f'; name a function of it"),
        ("raise RuntimeError('on import')", "RuntimeError: on import at given_here.py:4"),
        ("1 +", "SyntaxError"),
    ],
)
def test_what_does_not(text, said, written, unchecked):
    with pytest.raises(ProblemError) as refusal:
        problem_from(written(text))
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)
    assert "ProblemError" not in str(refusal.value)


def test_a_file_that_failed_is_read_again(written):
    """A second look, after mending it, sees the mended file."""
    with pytest.raises(ProblemError):
        problem_from(written("raise RuntimeError"))
    assert isinstance(problem_from(written(f"def f(): return {LINEAR}")), thalweg.Problem)
