"""What --help, the README and the documentation tell people to type, and completion."""

import inspect
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from typer.testing import CliRunner

from thalweg.cli._app import app
from thalweg.cli._commands import COMMANDS
from thalweg.cli._factory import problem_from

ROOT = Path(__file__).parents[2]
TEXTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def example_of(command):
    """The line after "Example:" in the help of a command."""
    _, _, example = inspect.getdoc(COMMANDS[command]).partition("\nExample: ")
    return " ".join(example.split())


def invocations(text):
    """The arguments of each call of thalweg on a line of a shell."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars="|<>")
    lexer.whitespace_split = True
    calls, inside = [], False
    for token in lexer:
        if set(token) <= set("|<>"):
            inside = False
        elif Path(token).name == "thalweg":
            calls.append([])
            inside = True
        elif inside:
            calls[-1].append(token)
    return calls


def parsed(arguments):
    """What the parser makes of arguments; it raises where it takes offence."""
    group = typer.main.get_command(app)
    name, *rest = arguments
    return group.commands[name].make_context(name, rest, parent=group.context_class(group))


def written():
    """Every line of README and documentation that calls thalweg."""
    for text in TEXTS:
        joined = text.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^(?: {4}|\$ |)((?:echo .*\| *)?(?:\.venv/bin/)?thalweg .*)$",
                               joined, re.MULTILINE):  # fmt: skip
            if "thalweg reads" not in line:
                yield pytest.param(line, id=f"{text.name}: {line[:60]}")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_example_of_each_help_is_understood(command):
    (arguments,) = invocations(example_of(command))
    assert arguments[0] == command
    context = parsed(arguments)
    target = context.params.get("target")
    if target is not None:
        assert list(problem_from(target).model.parameters())


@pytest.mark.parametrize("line", list(written()))
def test_what_the_texts_tell_to_type_is_understood(line):
    for arguments in invocations(line):
        if not arguments[0].startswith("--"):
            parsed(arguments)


@pytest.mark.parametrize("command", ["worked", "derive", "check", "escape"])
def test_an_example_runs_as_it_stands(command, tmp_path):
    (tmp_path / "net.txt").write_text("x = 2; w = 3; y = 1; L = 1/2 (w * x - y)^2")
    (tmp_path / "solution.md").write_text("$L = \\frac12 (3 \\cdot 2 - 1)^2 = 12.5$\n")
    shell = f'thalweg() {{ {shlex.quote(sys.executable)} -m thalweg "$@"; }}\n{example_of(command)}'
    done = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, check=False, cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout) > 40


@pytest.mark.parametrize("command", [*COMMANDS, None])
def test_help_has_an_example_and_configuration(command):
    arguments = ["--help"] if command is None else [command, "--help"]
    said = " ".join(CliRunner().invoke(app, arguments).stdout.split())
    assert "Example: " in said
    assert "--config" in said
    if command is None:
        assert "[tool.thalweg.examine]" in said
        for code in ("0: ", "1: ", "2: ", "130: "):
            assert code in said
    else:
        assert "Exit code 0: " in said


def completed(words):
    """What Bash offers for the last of these words."""
    result = CliRunner().invoke(
        app, [], prog_name="thalweg",
        env={
            "_THALWEG_COMPLETE": "complete_bash", "COMP_WORDS": words,
            "COMP_CWORD": str(len(words.split()) - 1),
        },
    )  # fmt: skip
    return result.stdout.split()


def test_commands_options_and_choices_are_completed():
    assert completed("thalweg ex") == ["examine"]
    assert completed("thalweg examine --bu") == ["--budget"]
    assert completed("thalweg spectrum --matrix g") == ["ggn"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_shown_and_installed(shell, tmp_path):
    # Typer asks which shell its parent process is; here it is told instead.
    environment = {
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path),
        "SHELL": f"/bin/{shell}", "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run(option):
        code = "import sys; sys.argv[0] = 'thalweg'; from thalweg.cli import main; main()"
        return subprocess.run(
            [sys.executable, "-c", code, option, shell], capture_output=True, text=True,
            check=False, env=os.environ | environment,
        )  # fmt: skip

    shown = run("--show-completion")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "_THALWEG_COMPLETE" in shown.stdout
    installed = run("--install-completion")
    assert installed.returncode == 0, installed.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_THALWEG_COMPLETE" in path.read_text() for path in files)


def test_completion_does_not_trip_over_a_project_that_is_broken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pyproject.toml").write_text("[tool.thalweg\n")
    assert completed("thalweg examine --bu") == ["--budget"]
