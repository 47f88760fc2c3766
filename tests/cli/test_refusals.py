"""Every bad input: exit code 2, one sentence with the object and the way out, nothing written."""

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app

FACTORIES = Path(__file__).parent / "factories.py"

PROBLEMS = [
    ("no_such_factory", "no_such_factory", "name a function"),
    ("raises", "KeyError: 'no such key' at factories.py", "--debug"),
    ("needs_argument", "width", "give its parameters defaults"),
    ("returns_tuple", "tuple", "must return thalweg.Problem"),
    ("nothing_to_train", "no trainable parameter", "requires_grad_"),
    ("not_scalar", r"shape (60,)", "reduction='mean'"),
    ("not_finite", "layer '1' (Logarithm)", "Mend that place"),
    ("detached", "does not depend on any trainable parameter", "keep the whole way"),
    ("no_batches", "no batches", "give at least one batch"),
    ("target_out_of_range", "batch 1", "mend the targets"),
    ("dropout", "'1' (Dropout)", "model.eval()"),
    ("batch_statistics", "'0' (BatchNorm1d)", "model.eval()"),
    ("mixed_dtypes", "'0.weight' is torch.float64", "convert the model"),
    ("mixed_devices", "'2.weight' on meta", "move the model"),
    ("no_second_derivative", "Once", "replace it"),
    ("greedy_optimizer", "parameters that it was not given", "make it from its argument"),
]


def examine(*arguments):
    return CliRunner().invoke(app, ["examine", *map(str, arguments)])


COMMANDS = {
    "examine": ("--budget", "5000g"),
    "spectrum": (),
    "signal": (),
    "compare": ("--budget", "3g", "--trials", "1"),
}
EXAMINED = {
    "not_finite": 1,
    "detached": 1,
    "target_out_of_range": 1,
    "dropout": 0,
    "batch_statistics": 0,
}
"""What has no surface, but can be examined: a finding (1), or a healthy training (0)."""

FOREIGN = {
    "examine": set(EXAMINED),
    "spectrum": {"greedy_optimizer"},
    "signal": {"greedy_optimizer", "not_finite", "no_second_derivative"},
    "compare": {"greedy_optimizer", "dropout", "batch_statistics", "no_second_derivative"},
}
"""What a command never meets: without training, or with training in training mode."""


@pytest.mark.parametrize(
    ("command", "factory", "named", "way_out"),
    [
        (command, *problem)
        for command in COMMANDS
        for problem in PROBLEMS
        if problem[0] not in FOREIGN.get(command, ())
    ],
)
def test_a_problem_that_cannot_be_read(command, factory, named, way_out, tmp_path):
    out = tmp_path / "report.html"
    arguments = [command, f"{FACTORIES}:{factory}", "--out", out, *COMMANDS[command]]
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 2
    assert named in result.stderr
    assert way_out in result.stderr
    assert result.stderr.startswith("thalweg: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("factory", "code"), EXAMINED.items())
def test_what_breaks_or_shakes_a_training_is_examined(factory, code, tmp_path):
    out = tmp_path / "report.html"
    result = examine(f"{FACTORIES}:{factory}", "--out", out, "--budget", "5000g")
    assert result.exit_code == code
    assert "Traceback" not in result.output
    assert out.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no_such_module:f"], "no module 'no_such_module'"),
        (["no_such_file.py:f"], "no file 'no_such_file.py'"),
        (["no_factory_named"], "MODULE:FACTORY"),
        ([f"{FACTORIES}:healthy", "--budget", "a while"], "60s or 2m"),
        ([f"{FACTORIES}:healthy", "--budget", "0"], "60s or 2m"),
        ([f"{FACTORIES}:healthy", "--budget", "9g"], "give"),
        ([f"{FACTORIES}:healthy", "--device", "abacus"], "give one of cpu"),
        ([f"{FACTORIES}:healthy", "--params", "layers.*"], "the names are 0.weight"),
        ([f"{FACTORIES}:healthy", "--out", "no/such/folder.html"], "create it"),
        ([f"{FACTORIES}:healthy", "--out", f"{FACTORIES}"], "will not overwrite"),
    ],
)
def test_arguments_that_cannot_be_used(arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = FACTORIES.read_bytes()
    result = examine(*arguments)
    assert result.exit_code == 2
    assert said in result.stderr
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []
    assert FACTORIES.read_bytes() == before


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def f(:\n    pass\n", "SyntaxError"),
        ("import no_such_dependency\n", "needs the module 'no_such_dependency'"),
        ("raise SystemExit(3)\n", "SystemExit"),
    ],
)
def test_files_that_cannot_be_imported(text, said, tmp_path):
    path = tmp_path / "broken_file.py"
    path.write_text(text)
    result = examine(f"{path}:f")
    assert result.exit_code == 2
    assert said in result.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["broken_file.py"]
    sys.modules.pop("broken_file", None)


def test_debug_shows_the_traceback_too():
    result = examine(f"{FACTORIES}:raises", "--debug")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr
    assert "KeyError: 'no such key'" in result.stderr


def test_what_nobody_foresaw_is_no_finding(monkeypatch, tmp_path):
    def fails(*arguments, **settings):
        raise RuntimeError("a wheel came off")

    monkeypatch.setattr("thalweg.cli._examine.examine", fails)
    result = examine(f"{FACTORIES}:healthy", "--out", tmp_path / "page.html")
    assert result.exit_code == 2
    assert "RuntimeError: a wheel came off" in result.stderr
    assert "Traceback" not in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_device_that_torch_only_names_is_refused():
    result = examine(f"{FACTORIES}:healthy", "--device", "privateuseone")
    assert result.exit_code == 2
    assert "give one of cpu" in result.stderr
