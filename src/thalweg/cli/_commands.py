"""The commands by name; each is loaded, and its room with it, when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module

from thalweg.cli._configuration import Command

NAMES = (
    "examine",
    "spectrum",
    "signal",
    "critical",
    "escape",
    "landscape",
    "compare",
    "flow",
    "worked",
    "derive",
    "check",
)
"""In the order of `thalweg --help`."""


class Commands(Mapping[str, Command]):
    """From a name to the function of that command, in the file of its name."""

    def __getitem__(self, name: str) -> Command:
        if name not in NAMES:
            raise KeyError(name)
        command: Command = getattr(import_module(f"thalweg.cli._{name}"), f"{name}_command")
        return command

    def __contains__(self, name: object) -> bool:
        return name in NAMES

    def __iter__(self) -> Iterator[str]:
        return iter(NAMES)

    def __len__(self) -> int:
        return len(NAMES)


COMMANDS = Commands()
"""Those that read a surface or a page; `schema` is about them."""
