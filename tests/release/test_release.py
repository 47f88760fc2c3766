"""What a release says of itself, said once or the same everywhere."""

import re
import tomllib
from pathlib import Path

import thalweg

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def lines(name):
    return (ROOT / name).read_text(encoding="utf-8").splitlines()


def test_the_version_stands_in_one_place():
    file = PROJECT["tool"]["hatch"]["version"]["path"]
    assert f'__version__ = "{thalweg.__version__}"' in lines(file)
    assert PROJECT["project"]["dynamic"] == ["version"]
    found = [
        path for path in (ROOT / "src").rglob("*.py")
        if re.search(r"^__version__ = ", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]  # fmt: skip
    assert found == [ROOT / file]


def test_the_citation_is_of_this_version():
    """Keys that its format requires, and what pyproject says too."""
    said = dict(line.split(": ", 1) for line in lines("CITATION.cff") if re.match(r"\S+: ", line))
    assert said["version"] == thalweg.__version__
    assert said["title"] == PROJECT["project"]["name"]
    assert said["license"] == PROJECT["project"]["license"]
    assert said["abstract"] == PROJECT["project"]["description"]
    assert said["cff-version"] == "1.2.0"
    assert {"message", "type"} <= set(said)
    assert "authors:" in lines("CITATION.cff")


def test_the_changelog_begins_with_this_version():
    heads = [line for line in lines("CHANGELOG.md") if line.startswith("## ")]
    number = rf"{re.escape(thalweg.__version__)} \((unreleased|\d{{4}}-\d\d-\d\d)\)"
    assert re.fullmatch(f"## {number}", heads[0])
    assert len(heads) == len(set(heads))


def test_classifiers_list_the_supported_versions_of_python():
    listed = [
        tuple(map(int, each.rsplit(" ", 1)[1].split(".")))
        for each in PROJECT["project"]["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", each)
    ]
    least = tuple(map(int, PROJECT["project"]["requires-python"].removeprefix(">=").split(".")))
    assert min(listed) == least
    assert listed == [(3, minor) for minor in range(least[1], listed[-1][1] + 1)]


def test_the_oldest_constraints_are_what_is_declared():
    """`make oldest` tests the lower end of the range, not somewhere inside it."""
    declared = dict(each.split(">=") for each in PROJECT["project"]["dependencies"])
    pinned = dict(
        line.split("==") for line in lines("constraints-oldest.txt") if not line.startswith("#")
    )
    for name, least in declared.items():
        assert (pinned[name] + ".").startswith(least + "."), name


def test_contributing_describes_the_rooms_as_the_contract_has_them():
    layers = PROJECT["tool"]["importlinter"]["contracts"][0]["layers"]
    house = "\n".join(lines("CONTRIBUTING.md")).split("## The house")[1].split("##")[0]
    # A line of the drawing begins at the fourth column; what explains it stands further in.
    drawn = [
        re.split(r"  +", line.strip())[0]
        for line in house.splitlines()
        if re.match(r"    \S", line)
    ]
    assert drawn == [layer for layer in layers if layer != "__main__"]


def test_contributing_names_every_target_of_the_makefile():
    targets = {line.split(":")[0] for line in lines("Makefile") if re.match(r"[a-z][\w-]*:", line)}
    told = {
        found[1] for line in lines("CONTRIBUTING.md") if (found := re.match(r" +make (\S+)", line))
    }
    assert told == targets - {"help"}


def test_no_conflict_of_a_merge_is_left():
    """In texts that no tool reads, where it would stand for days."""
    texts = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.toml")]
    left = [
        path for path in texts
        if re.search(r"^(<{7}|>{7})( |$)", path.read_text(encoding="utf-8"), re.MULTILINE)
    ]  # fmt: skip
    assert texts
    assert not left
