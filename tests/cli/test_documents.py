"""The JSON of every command: strict, alone on stdout, and as its published schema says."""

import json
from pathlib import Path

import jsonschema
import pytest
import torch
from typer.testing import CliRunner

import thalweg
from thalweg.cli._app import COMMANDS, app
from thalweg.cli._schema import RESULTS, schema_text
from thalweg.report import to_jsonable

FACTORIES = Path(__file__).parent / "factories.py"
SCHEMAS = Path(thalweg.__file__).parent / "schemas"
HEALTHY, SICK = f"{FACTORIES}:healthy", f"{FACTORIES}:sick"

RUNS = {
    "examine": ((HEALTHY, "--budget", "1000g"), 0),
    "examine with findings": ((SICK, "--budget", "1500g"), 1),
    "examine what breaks": ((f"{FACTORIES}:not_finite", "--budget", "1500g"), 1),
    "spectrum": ((HEALTHY, "--top", "2"), 0),
    "signal": ((HEALTHY, "--top", "2"), 0),
    "signal that breaks": ((f"{FACTORIES}:not_finite",), 0),
    "critical": ((HEALTHY, "--starts", "2", "--steps", "5", "--max-gradients", "400"), 0),
    "escape": (("thalweg.problems:strict_saddle", "--distances", "1e-2"), 0),
    "landscape": ((HEALTHY, "--train", "3", "--cells", "5"), 0),
    "landscape in part": ((HEALTHY, "--samples", "20", "--cells", "5", "--along", "random"), 0),
    "compare": (
        (HEALTHY, "--optimizers", "sgd,adam", "--budget", "3g", "--trials", "1", "--seeds", "2",
         "--target", "0.1"), 0,
    ),
    "flow": ((HEALTHY, "--time", "0.1", "--lr", "0.05"), 0),
    "flow that does not arrive": ((HEALTHY, "--time", "1e3", "--max-gradients", "40"), 1),
    "worked": (("net.txt",), 0),
    "derive": (("(x-1)(x-3)", "--at", "x=4"), 0),
    "derive without values": (("E[g(w^T z)]",), 0),
    "check": (("right.md",), 0),
    "check with a slip": (("wrong.md", "--problem", "net.txt"), 1),
}  # fmt: skip
"""Arguments and exit code; the first word of each name is the command."""


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def closed(schema):
    """The same schema with nothing allowed that it does not list: what a release says today."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and schema.get("type") == "object":
        inner.setdefault("additionalProperties", False)
    return inner


@pytest.mark.parametrize("name", RUNS)
def test_what_is_printed_is_what_the_schema_says(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("net.txt").write_text("x = 2; w = 3; y = 1; L = 1/2 (w * x - y)^2")
    Path("right.md").write_text("$z = 4 \\cdot 1.5 = 6$\n")
    Path("wrong.md").write_text("$L = \\frac12 (3 \\cdot 2 - 1)^2 = 13.5$\n")
    arguments, code = RUNS[name]
    command = name.split()[0]
    result = CliRunner().invoke(app, [command, *arguments, "--json"])
    assert result.exit_code == code, result.output
    assert result.stderr == ""
    told = json.loads(result.stdout, parse_constant=refuse)
    schema = json.loads((SCHEMAS / f"{command}.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(closed(schema)).validate(told)
    if command != "check":  # a list of steps, since its first day
        assert told["schema"] == RESULTS[command].schema
        assert told["version"] == thalweg.__version__


@pytest.mark.parametrize("command", RESULTS)
def test_the_published_schema_is_that_of_the_types(command):
    """`make schemas` writes them; what is removed or means something else gets a new number."""
    text = (SCHEMAS / f"{command}.json").read_text(encoding="utf-8")
    assert text == schema_text(command)
    schema = json.loads(text, parse_constant=refuse)
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"].startswith("thalweg/")
    assert CliRunner().invoke(app, ["schema", command]).stdout == text


def test_every_command_has_a_schema_and_every_run():
    assert list(RESULTS) == list(COMMANDS)
    assert {name.split()[0] for name in RUNS} == set(COMMANDS)
    assert sorted(path.stem for path in SCHEMAS.iterdir()) == sorted(COMMANDS)


def test_a_schema_refuses_what_is_wrong():
    """It does not simply let everything through."""
    schema = thalweg.derive("x^2").json_schema()
    told = json.loads(thalweg.derive("x^2").to_json())
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(told)
    assert validator.is_valid(told | {"later": 1})
    assert not validator.is_valid(told | {"schema": "thalweg/derivation/2"})
    assert not validator.is_valid(told | {"variables": "x"})
    assert not validator.is_valid({key: told[key] for key in told if key != "findings"})
    told["findings"][0]["num_points"] = 1.5
    assert not validator.is_valid(told)


def test_there_is_no_schema_of_what_is_no_command():
    result = CliRunner().invoke(app, ["schema", "examin"])
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give one of examine, spectrum" in result.stderr


def test_what_is_marked_untold_is_left_out_at_any_depth():
    told = to_jsonable({"axis": thalweg.pictures.Axis("a", torch.ones(3), "all ones")})
    assert told["axis"]["said"] == "all ones"
    assert "vector" not in told["axis"]
