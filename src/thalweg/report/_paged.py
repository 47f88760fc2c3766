"""Paged: what has a page is saved and shown in a notebook; a result is told as JSON, too."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

from thalweg.report._json import to_json
from thalweg.report._page import Page


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

    A class whose fields are not what should be told overrides `_told`.
    """

    schema: ClassVar[str] = ""
    """Name and version of its JSON."""
    _max_items: ClassVar[int] = 1000

    def to_json(self) -> str:
        """The result as strict JSON, with the name and version of its schema.

        Tensors with more entries than a reader would read are summarised by shape, range and
        count.
        """
        name = {"schema": self.schema} if self.schema else {}
        return to_json({**name, **self._told()}, self._max_items)

    def _told(self) -> Mapping[str, Any]:
        """What the JSON says below the name of its schema: the fields."""
        return {each.name: getattr(self, each.name) for each in fields(self)}
