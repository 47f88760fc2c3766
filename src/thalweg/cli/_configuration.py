"""Options from a file: [tool.thalweg] of pyproject.toml, or a TOML file that --config names."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import Enum
from functools import wraps
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import typer
from typer.models import OptionInfo

from thalweg._errors import ThalwegError
from thalweg.cli._refusals import refusals

PROJECT = "pyproject.toml"

_UNCONFIGURED = ("config", "list")
"""Options that only the command line has."""

Command = Callable[..., None]


def configurable(name: str, commands: Mapping[str, Command]) -> Command:
    """The command of that name with the option --config, and its options taken from a file.

    What the command line says wins over the file, what the file says over the defaults.

    Args:
        name: of the command.
        commands: all of them: a file is read whole, so that a slip in any table is found.
    """
    command = commands[name]

    def configure(context: typer.Context, file: Path | None) -> Path | None:
        if not context.resilient_parsing:
            with refusals(False, "read the configuration"):
                context.default_map = defaults_of(name, commands, file)
        return file

    option = typer.Option(
        "--config",
        callback=configure,
        is_eager=True,
        help="A TOML file with options; flags win over it.",
        show_default="the nearest pyproject.toml",
    )
    hint = Annotated[Path | None, option]

    @wraps(command)
    def run(*arguments: Any, **options: Any) -> None:
        del options["config"]  # its callback has read it
        command(*arguments, **options)

    signature = inspect.signature(command, eval_str=True)
    own = inspect.Parameter("config", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hint)
    vars(run)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), own])
    run.__annotations__ = {**command.__annotations__, "config": hint}
    return run


def defaults_of(name: str, commands: Mapping[str, Command], file: Path | None) -> dict[str, Any]:
    """What a file says about the options of a command, by the names of its arguments.

    Args:
        name: of the command.
        commands: all of them.
        file: that --config names; None for the nearest pyproject.toml with a table [tool.thalweg],
            in the current folder or above it.

    Raises:
        ThalwegError: if the file cannot be read, or says what no command understands.
    """
    found = _nearest(Path.cwd()) if file is None else file
    if found is None:
        return {}
    table, prefix = _own_table(found, _read(found))
    known = {each: _options(command) for each, command in commands.items()}
    shared: dict[str, dict[str, Any]] = {each: {} for each in commands}
    own: dict[str, dict[str, Any]] = {each: {} for each in commands}
    for key, value in table.items():
        if key in known:
            own[key] = _values(value, known[key], _Place(found, ".".join([*prefix, key])))
            continue
        place = _Place(found, ".".join(prefix))
        takers = [each for each in known if _plain(key) in known[each]]
        if not takers:
            every = {option for options in known.values() for option in options}
            raise place.unknown(key, [*known, *sorted(every)])
        for each in takers:
            option = known[each][_plain(key)]
            shared[each][option.argument] = option.taken(value, place)
    return shared[name] | own[name]


@dataclass(frozen=True)
class _Place:
    """A table of a file."""

    file: Path
    table: str

    def __str__(self) -> str:
        return f"[{self.table}] of {self.file}" if self.table else f"the top of {self.file}"

    def unknown(self, key: str, known: Iterable[str]) -> ThalwegError:
        """There is no such key."""
        near = get_close_matches(_plain(key), list(known), n=1)
        way_out = f"did you mean {near[0]!r}?" if near else f"the keys are {', '.join(known)}"
        return ThalwegError(f"{self}: there is no key {key!r}; {way_out}")


@dataclass(frozen=True)
class _Option:
    """An option of a command.

    Args:
        key: its name without dashes in front.
        argument: the name of the command's argument.
        kind: of its value.
        is_list: whether it may be repeated.
    """

    key: str
    argument: str
    kind: type
    is_list: bool

    def taken(self, value: Any, place: _Place) -> Any:
        """The value, as the command line would have it.

        Raises:
            ThalwegError: if it is none for this option.
        """
        if not self.is_list:
            return self._one(value, place)
        values = value if isinstance(value, list) else [value]
        return [self._one(each, place) for each in values]

    def _one(self, value: Any, place: _Place) -> Any:
        if issubclass(self.kind, Enum):
            names = [each.value for each in self.kind]
            if value not in names:
                near = get_close_matches(str(value), names, n=1)
                said = f"did you mean {near[0]!r}?" if near else f"give one of {', '.join(names)}"
                raise ThalwegError(f"{place}: {self.key} = {_shown(value)}; {said}")
            return value
        accepted = {float: (int, float), Path: (str,)}.get(self.kind, (self.kind,))
        if not isinstance(value, accepted) or (self.kind is not bool and isinstance(value, bool)):
            wanted = f"{_KINDS[self.kind]}{', or a list of such' if self.is_list else ''}"
            raise ThalwegError(f"{place}: {self.key} = {_shown(value)}; give {wanted}")
        # A file says where things are as seen from where it stands itself.
        if self.kind is Path:
            return str(place.file.parent / Path(str(value)).expanduser())
        return value


_KINDS: dict[type, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text in quotes",
    Path: "a path in quotes",
}


def _values(value: Any, known: Mapping[str, _Option], place: _Place) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ThalwegError(
            f"{place.file}: {place.table} = {_shown(value)}; give a table [{place.table}] with the "
            f"options of the command"
        )
    taken = {}
    for key, each in value.items():
        option = known.get(_plain(key))
        if option is None:
            raise place.unknown(key, sorted(known))
        taken[option.argument] = option.taken(each, place)
    return taken


def _options(command: Command) -> dict[str, _Option]:
    """What the command line takes after dashes, by key."""
    found = {}
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        kind, *extras = get_args(parameter.annotation)
        info = next((each for each in extras if isinstance(each, OptionInfo)), None)
        if info is None:
            continue
        # Inside Annotated the first name stands where the default otherwise does.
        said = (info.default, *(info.param_decls or ()))
        declared = [each for each in said if isinstance(each, str) and each.startswith("--")]
        key = (declared or [f"--{_plain(name)}"])[0].split("/")[0].removeprefix("--")
        if key not in _UNCONFIGURED:
            found[key] = _Option(key, name, *_kind_of(kind))
    return found


def _kind_of(kind: Any) -> tuple[type, bool]:
    """What one value is, and whether there may be several."""
    if get_origin(kind) in (Union, UnionType):
        (kind,) = (each for each in get_args(kind) if each is not NoneType)
    if get_origin(kind) is list:
        return get_args(kind)[0], True
    return kind, False


def _plain(key: str) -> str:
    return key.replace("_", "-")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value).replace("True", "true")


def _nearest(folder: Path) -> Path | None:
    for above in (folder, *folder.parents):
        file = above / PROJECT
        if file.is_file() and "thalweg" in _read(file).get("tool", {}):
            return file
    return None


def _own_table(file: Path, read: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The table that speaks of thalweg, and where it stands."""
    if file.name != PROJECT:
        return read, []
    table = read.get("tool", {}).get("thalweg", {})
    if not isinstance(table, dict):
        raise ThalwegError(f"{file}: tool.thalweg = {_shown(table)}; give a table [tool.thalweg]")
    return table, ["tool", "thalweg"]


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ThalwegError(f"cannot read {file}: {reason}; give a TOML file to --config") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ThalwegError(f"{file} is no TOML: {error}; mend it there") from error
