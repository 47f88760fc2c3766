"""What every command shows on a terminal, and what it leaves out where its output is piped."""

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from thalweg.cli._commands import COMMANDS

FACTORIES = Path(__file__).parent / "factories.py"
HEALTHY = f"{FACTORIES}:healthy"

CALLS = {
    "examine": (HEALTHY, "--budget", "1000g"),
    "spectrum": (HEALTHY, "--top", "2"),
    "signal": (HEALTHY, "--top", "2"),
    "critical": (HEALTHY, "--starts", "2", "--steps", "5", "--max-gradients", "400"),
    "escape": ("thalweg.problems:strict_saddle", "--distances", "1e-2"),
    "landscape": (HEALTHY, "--train", "3", "--cells", "5"),
    "compare": (HEALTHY, "--optimizers", "sgd", "--budget", "3g", "--trials", "1", "--seeds", "1"),
    "flow": (HEALTHY, "--time", "0.1"),
    "worked": ("net.txt",),
    "derive": ("sin(x) exp(y)",),
    "check": ("solution.md",),
}

QUICK = {"check"}
"""Of at most 1,500 steps: under a second, and without progress."""

COLOUR = re.compile("\x1b\\[[0-9;]*(3[0-7]|9[0-7]|38;)[0-9;]*m")
SECONDS_LEFT = re.compile(r"left\D*(\d+:\d\d:\d\d|-:--:--)")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.txt").write_text("x = 2; w = 3; L = sigmoid(w x)")
    Path("solution.md").write_text("$L = \\frac12 (3 \\cdot 2 - 1)^2 = 12.5$\n")


def environment(**more):
    kept = {key: value for key, value in os.environ.items() if not key.endswith("_COLOR")}
    return kept | {"OMP_NUM_THREADS": "1", "TERM": "xterm-256color", "COLUMNS": "100"} | more


def on_a_terminal(*arguments, **more):
    """The exit code, what went to the terminal on stderr, and to the file on stdout."""
    ours, theirs = pty.openpty()
    with open("answer", "w+b") as answer:
        running = subprocess.Popen(
            [sys.executable, "-m", "thalweg", *arguments], stdin=subprocess.DEVNULL,
            stdout=answer, stderr=theirs, env=environment(**more),
        )  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # how Linux says that the other end is closed
                break
            if not part:
                break
            shown += part
        os.close(ours)
        code = running.wait()
    return code, shown.decode(), Path("answer").read_text(encoding="utf-8")


def test_every_command_is_called():
    assert set(CALLS) == set(COMMANDS)


@pytest.mark.parametrize("command", CALLS)
def test_a_terminal_is_told_what_is_done_and_the_time_left(command):
    code, shown, answer = on_a_terminal(command, *CALLS[command])
    assert code == 0, shown
    assert "\x1b" not in answer
    if command in QUICK:
        assert shown == ""
        return
    assert SECONDS_LEFT.search(re.sub("\x1b\\[[0-9;?]*[a-zA-Z]", "", shown))
    assert "━" in shown
    assert COLOUR.search(shown)
    assert shown.rstrip().endswith("\x1b[2K")  # the bar is wiped away


@pytest.mark.parametrize("command", ["spectrum", "worked"])
def test_json_on_a_terminal_has_a_bar_and_no_color_is_obeyed(command):
    code, shown, answer = on_a_terminal(command, *CALLS[command], "--json", NO_COLOR="1")
    assert code == 0, shown
    assert answer.startswith("{")
    assert "left" in shown
    assert not COLOUR.search(shown)


@pytest.mark.parametrize("command", CALLS)
def test_a_pipe_gets_the_answer_alone(command):
    done = subprocess.run(
        [sys.executable, "-m", "thalweg", command, *CALLS[command]],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("wishes", [{"FORCE_COLOR": "1"}, {"FORCE_COLOR": "1", "NO_COLOR": "1"}])
def test_a_pipe_that_asks_for_colour_gets_no_bar(wishes):
    done = subprocess.run(
        [sys.executable, "-m", "thalweg", "derive", "x^2"],
        capture_output=True, text=True, check=False, env=environment(**wishes),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert bool(COLOUR.search(done.stdout)) == ("NO_COLOR" not in wishes)


@pytest.mark.parametrize(
    "arguments",
    [
        ("derive", "9^9^9"),
        ("examine", "nothing.py:f"),
        ("worked", "nothing.txt"),
        ("check", "no.md"),
    ],
)
def test_an_error_is_one_line_on_stderr(arguments):
    done = subprocess.run(
        [sys.executable, "-m", "thalweg", *arguments],
        capture_output=True, text=True, check=False, env=environment(),
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("thalweg: ")
    assert done.stderr.count("\n") == 1
