"""Options from pyproject.toml and from the file that --config names."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg import ThalwegError
from thalweg.cli._app import COMMANDS, app
from thalweg.cli._configuration import defaults_of


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def derived(*arguments):
    return CliRunner().invoke(app, ["derive", "x^3", *arguments])


def test_flags_win_over_the_file_and_the_file_over_defaults(here):
    assert "\\begin{document}" not in derived().stdout
    (here / "pyproject.toml").write_text('[tool.thalweg.derive]\nformat = "latex"\n')
    assert "\\begin{document}" in derived().stdout
    assert "\\begin{document}" not in derived("--format", "markdown").stdout
    assert derived("--format", "markdown").exit_code == 0


def test_a_boolean_of_the_file_can_be_typed_away(here):
    (here / "pyproject.toml").write_text("[tool.thalweg]\njson = true\n")
    assert derived().stdout.startswith("{")
    assert not derived("--no-json").stdout.startswith("{")


def test_a_file_that_is_named_wins_over_the_project(here):
    (here / "pyproject.toml").write_text('[tool.thalweg.derive]\nformat = "latex"\n')
    (here / "mine.toml").write_text('[derive]\nformat = "markdown"\n')
    assert "\\begin{document}" not in derived("--config", "mine.toml").stdout


def test_the_nearest_project_that_speaks_of_thalweg_counts(here, monkeypatch):
    (here / "pyproject.toml").write_text("[tool.thalweg]\nseed = 7\n")
    inner = here / "a" / "b"
    inner.mkdir(parents=True)
    (here / "a" / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    monkeypatch.chdir(inner)
    assert defaults_of("examine", COMMANDS, None) == {"seed": 7}


def test_shared_options_reach_the_commands_that_have_them(here):
    (here / "pyproject.toml").write_text(
        "[tool.thalweg]\nseed = 3\nmax-gradients = 100\n[tool.thalweg.critical]\nseed = 4\n"
    )
    assert defaults_of("critical", COMMANDS, None) == {"seed": 4, "max_gradients": 100}
    assert defaults_of("flow", COMMANDS, None) == {"seed": 3, "max_gradients": 100}
    assert defaults_of("derive", COMMANDS, None) == {}


def test_keys_are_what_is_typed_after_the_dashes(here):
    """Not the names of arguments; underscores are as good as dashes."""
    text = "[critical]\nstarts = 5\nrandom_starts = true\n[compare]\ntarget = 1e-3\n"
    file = here / "own.toml"
    file.write_text(text)
    assert defaults_of("critical", COMMANDS, file) == {"num_starts": 5, "is_random": True}
    assert defaults_of("compare", COMMANDS, file) == {"goal": 1e-3}


def test_paths_are_seen_from_the_file(here):
    folder = here / "elsewhere"
    folder.mkdir()
    file = folder / "own.toml"
    file.write_text('[spectrum]\nout = "pages/s.html"\n')
    assert defaults_of("spectrum", COMMANDS, file) == {"out": str(folder / "pages" / "s.html")}


def test_a_list_or_one_of_its_entries(here):
    file = here / "own.toml"
    for text, expected in (('"top"', ["top"]), ('["top", "gradient"]', ["top", "gradient"])):
        file.write_text(f"[landscape]\nalong = {text}\n")
        assert defaults_of("landscape", COMMANDS, file) == {"along": expected}


SLIPS = [
    ('[examine]\nbudgt = "60s"', "[examine]", "'budgt'", "did you mean 'budget'?"),
    ("[examin]\nseed = 1", "the top of", "'examin'", "did you mean 'examine'?"),
    ("[examine]\nzzzz = 1", "[examine]", "'zzzz'", "the keys are budget, debug, device"),
    ("sede = 1", "the top of", "'sede'", "did you mean 'seed'?"),
    ('[examine]\nseed = "one"', "[examine]", 'seed = "one"', "give a whole number"),
    ("[examine]\nseed = 1.5", "[examine]", "seed = 1.5", "give a whole number"),
    ("[examine]\nseed = true", "[examine]", "seed = true", "give a whole number"),
    ("[examine]\nbudget = 60", "[examine]", "budget = 60", "give text in quotes"),
    ("[examine]\nparams = [1]", "[examine]", "params = 1", "or a list of such"),
    ("[examine]\nout = 1", "[examine]", "out = 1", "give a path in quotes"),
    ("[examine]\njson = 1", "[examine]", "json = 1", "give true or false"),
    ('[flow]\ntime = "long"', "[flow]", 'time = "long"', "give a number"),
    ('[spectrum]\nmatrix = "hesian"', "[spectrum]", '"hesian"', "did you mean 'hessian'?"),
    ('[spectrum]\nmatrix = "q"', "[spectrum]", '"q"', "give one of hessian, ggn"),
    ("examine = 3", "examine = 3", "own.toml", "give a table [examine]"),
    ("[examine\nseed = 1", "own.toml", "is no TOML", "mend it there"),
    ('[examine]\nconfig = "x"', "[examine]", "'config'", "the keys are"),
]


@pytest.mark.parametrize(("text", "table", "named", "way_out"), SLIPS)
def test_slips_are_one_sentence_with_the_way_out(text, table, named, way_out, here):
    """Whichever command runs: the file is read whole."""
    (here / "own.toml").write_text(text)
    result = derived("--config", "own.toml")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("thalweg: ")
    assert result.stderr.count("\n") == 1
    for said in (table, named, way_out, "own.toml"):
        assert said in result.stderr


def test_a_file_that_is_not_there(here):
    result = derived("--config", "none.toml")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "cannot read none.toml: No such file or directory" in result.stderr


def test_tables_of_a_project_are_named_in_full(here):
    (here / "pyproject.toml").write_text("[tool.thalweg.examine]\nsede = 1\n")
    with pytest.raises(ThalwegError, match=r"\[tool.thalweg.examine\] of .*'seed'"):
        defaults_of("examine", COMMANDS, None)


def test_help_is_shown_whatever_the_file_says(here):
    (here / "pyproject.toml").write_text("[tool.thalweg]\nsede = 1\n")
    result = CliRunner().invoke(app, ["examine", "--help"])
    assert result.exit_code == 0
    assert "--config" in result.stdout


def test_nothing_is_taken_from_a_project_of_others(here):
    (here / "pyproject.toml").write_text("[tool.other]\nseed = 1\n")
    for command in COMMANDS:
        assert defaults_of(command, COMMANDS, None) == {}
    assert Path("pyproject.toml").read_text() == "[tool.other]\nseed = 1\n"
