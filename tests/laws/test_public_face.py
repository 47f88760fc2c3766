"""The public face is exact, and says of itself what the style asks."""

import dataclasses
import enum
import inspect
import pkgutil
import re
import subprocess
import sys
from importlib import import_module
from types import ModuleType

import pytest

import thalweg

ROOMS = sorted(m.name for m in pkgutil.iter_modules(thalweg.__path__) if m.name[0] != "_")
PLACES = ["thalweg", *(f"thalweg.{room}" for room in ROOMS)]
PUBLIC = {
    f"{place.removeprefix('thalweg.')}.{name}": getattr(import_module(place), name)
    for place in PLACES
    for name in getattr(import_module(place), "__all__", ())
}
FUNCTIONS = {name: thing for name, thing in PUBLIC.items() if inspect.isfunction(thing)}
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}
METHODS = {
    f"{name}.{key}": getattr(cls, key)
    for name, cls in CLASSES.items()
    for key, member in vars(cls).items()
    if key[0] != "_" and (inspect.isfunction(member) or isinstance(member, classmethod | property))
}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_listed_is_all_there_is(place):
    """Rooms below may be attributes unlisted: importing a submodule puts it there."""
    module = import_module(place)
    rooms = {name for name in vars(module) if isinstance(getattr(module, name), ModuleType)}
    public = {name for name in vars(module) if name[0] != "_"} - rooms
    listed = list(module.__all__)
    assert len(set(listed)) == len(listed)
    assert set(listed) - rooms == public
    assert set(listed) & rooms <= set(ROOMS)
    assert inspect.getdoc(module)


def test_every_room_is_at_hand():
    """But for the command line, which nobody calls from Python."""
    assert set(ROOMS) - {"cli"} <= set(thalweg.__all__)


def test_a_name_means_one_thing():
    for name in thalweg.__all__:
        for room in ROOMS:
            if name in import_module(f"thalweg.{room}").__all__:
                assert getattr(import_module(f"thalweg.{room}"), name) is getattr(thalweg, name)


@pytest.mark.parametrize("name", {**FUNCTIONS, **CLASSES, **METHODS})
def test_everything_public_has_a_sentence(name):
    thing = {**FUNCTIONS, **CLASSES, **METHODS}[name]
    first = (inspect.getdoc(thing) or "").split("\n\n")[0].rstrip()
    assert first.endswith((".", ":")), first


def documented(thing):
    """The names under Args (of a result also Attributes), in order."""
    doc = inspect.getdoc(thing) or ""
    section = re.search(r"^(?:Args|Attributes):\n((?:    .*\n?|\n(?=    ))*)", doc, re.M)
    entries = re.findall(
        r"^    (\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \(.*?\))?:", section[1] if section else "", re.M
    )
    return [name.strip(" *") for entry in entries for name in entry.split(",")]


def arguments(thing):
    return [name for name in inspect.signature(thing).parameters if name != "self"]


WITH_ARGUMENTS = {
    name: thing
    for name, thing in {**FUNCTIONS, **CLASSES}.items()
    if name != "cli.main"
    and not (inspect.isclass(thing) and issubclass(thing, Exception | enum.Enum))
    and not inspect.isabstract(thing)
    and not getattr(thing, "_is_protocol", False)
}


@pytest.mark.parametrize("name", WITH_ARGUMENTS)
def test_args_are_the_arguments(name):
    assert documented(WITH_ARGUMENTS[name]) == arguments(WITH_ARGUMENTS[name])


@pytest.mark.parametrize("name", METHODS)
def test_args_of_methods_are_their_arguments_where_they_are_listed(name):
    method = METHODS[name]
    if not isinstance(method, property) and (listed := documented(method)):
        assert listed == arguments(method)


TYPED = [name for name in PUBLIC if name in FUNCTIONS and name != "cli.main"] + [
    f"thalweg.{name}"
    for name in thalweg.__all__
    if inspect.isclass(getattr(thalweg, name)) and not name.endswith("Error")
]


@pytest.mark.parametrize("name", TYPED)
def test_what_a_user_types_comes_with_an_example(name):
    """They are run by `make test`, as doctests."""
    assert ">>> " in inspect.getdoc(PUBLIC[name])


METHODICAL = ("linalg.", "curvature.", "signal.")


@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n.startswith(METHODICAL)])
def test_no_method_without_a_source(name):
    assert re.search(r"^Source:.*(\d{4}|`\w+`)", inspect.getdoc(FUNCTIONS[name]), re.M | re.S)


def test_results_are_frozen():
    for name, cls in CLASSES.items():
        if dataclasses.is_dataclass(cls):
            assert cls.__dataclass_params__.frozen, name


def test_errors_are_one_tree_with_a_sentence_each():
    errors = [thing for name, thing in CLASSES.items() if issubclass(thing, Exception)]
    assert len(errors) > 5
    assert all(issubclass(error, thalweg.ThalwegError) for error in errors)
    doc = import_module("thalweg._errors").__doc__
    assert all(error.__name__ in doc for error in errors)


@pytest.mark.parametrize(
    ("code", "unloaded"),
    [
        ("import thalweg", ("torch", "sympy", "scipy", "sklearn")),
        ("from thalweg.cli import main", ("torch", "sympy", "scipy", "sklearn")),
        ("import thalweg.curvature", ("sympy", "sklearn", "thalweg.doctor", "thalweg.sheet")),
    ],
)
def test_nobody_waits_for_what_they_do_not_use(code, unloaded):
    listed = [sys.executable, "-c", f"{code}; import sys; print(*sys.modules)"]
    done = subprocess.run(listed, capture_output=True, text=True, check=True)
    assert not set(unloaded) & set(done.stdout.split())
