"""Paged: what has a page is saved and shown in a notebook; a result is told as JSON, too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, get_type_hints

from thalweg._untold import is_told
from thalweg._version import __version__
from thalweg.report._json import to_json
from thalweg.report._page import Page
from thalweg.report._schema import schema_of


class Paged(ABC):
    """What has a page."""

    @abstractmethod
    def page(self) -> Page:
        """The page: verdict first, then evidence, then cost and doubt."""

    def save(self, path: str | PathLike[str]) -> Path:
        """Writes the page as one HTML file that needs nothing from the network.

        Args:
            path: where; see `Page.save`.

        Returns:
            The file written.

        Raises:
            ThalwegError: if the file cannot be written, or is not a page of thalweg's.
        """
        return self.page().save(path)

    def _repr_html_(self) -> str:
        return self.page().frame()


@dataclass(frozen=True, eq=False)
class PagedResult(Paged):
    """A frozen dataclass that has a page, and is told whole as JSON.

    What is no part of the JSON is marked `field(metadata=UNTOLD)`; a class that is told otherwise
    than by its fields overrides `_told`.
    """

    schema: ClassVar[str] = ""
    """Name and version of its JSON, such as `thalweg/spectrum/1`."""
    _also: ClassVar[tuple[str, ...]] = ()
    """Properties that are told besides the fields."""
    _max_items: ClassVar[int] = 1000

    def to_json(self) -> str:
        """The result as strict JSON, with the name and version of its schema.

        Tensors with more entries than a reader would read are summarised by shape, range and
        count.
        """
        told = self._told()
        head = {"schema": self.schema, "version": __version__}
        names = [*self._also, *(each.name for each in fields(told) if is_told(each))]
        return to_json(head | {name: getattr(told, name) for name in names}, self._max_items)

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON schema, draft 2020-12, of what `to_json` writes: `thalweg schema COMMAND`."""
        told = get_type_hints(cls._told)["return"]
        return schema_of(cls if told is Any else told, cls.schema, cls._also)

    def _told(self) -> Any:
        """What is told: a dataclass."""
        return self


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, with what there was by then; every room says in a class of its own what that is.

    Args:
        found: the result so far; it says that it is partial.
    """

    def __init__(self, found: PagedResult) -> None:
        super().__init__("interrupted")
        self.found = found
