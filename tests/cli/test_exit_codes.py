"""Exit codes 2 and 130 of every command; 0 and 1 are in `test_documents.py`."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.cli._app import app
from thalweg.cli._commands import COMMANDS

FACTORIES = Path(__file__).parent / "factories.py"
HEALTHY = f"{FACTORIES}:healthy"

CALLS = {
    "examine": ("_examine.examine", (HEALTHY,)),
    "spectrum": ("_spectrum.spectrum", (HEALTHY,)),
    "signal": ("_signal.propagation", (HEALTHY,)),
    "critical": ("_critical.find_critical", (HEALTHY,)),
    "escape": ("_escape.escape", (HEALTHY,)),
    "landscape": ("_landscape.landscape", (HEALTHY,)),
    "compare": ("_compare.compare", (HEALTHY,)),
    "flow": ("_flow.flow", (HEALTHY,)),
    "worked": ("_worked.worked", ("net.txt",)),
    "derive": ("_derive.derive", ("x^2",)),
    "check": ("_check.check", ("net.txt",)),
}
"""The one public call of each command, and arguments that lead to it."""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.txt").write_text("x = 2; L = x^2")
    return tmp_path


def test_every_command_is_listed():
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("command", CALLS)
@pytest.mark.parametrize(
    ("raised", "code", "said"),
    [
        (KeyboardInterrupt(), 130, "thalweg: interrupted; nothing was written"),
        (RuntimeError("a wheel came off"), 2, "RuntimeError: a wheel came off"),
    ],
    ids=["interrupted", "unforeseen"],
)
def test_what_breaks_off_is_said_on_stderr(command, raised, code, said, folder, monkeypatch):
    def breaks_off(*arguments, **settings):
        raise raised

    call, arguments = CALLS[command]
    monkeypatch.setattr(f"thalweg.cli.{call}", breaks_off)
    result = CliRunner().invoke(app, [command, *arguments])
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
    assert result.stderr.count("\n") == 1
    assert [path.name for path in folder.iterdir()] == ["net.txt"]


@pytest.mark.parametrize("command", [*CALLS, "schema"])
@pytest.mark.parametrize("arguments", [("--no-such-option",), ()], ids=["option", "argument"])
def test_what_is_typed_wrongly_is_2(command, arguments):
    result = CliRunner().invoke(app, [command, *arguments])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Usage" in result.stderr
    assert "Traceback" not in result.stderr
