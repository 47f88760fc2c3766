"""Fields of results that are no part of their JSON."""

from dataclasses import Field
from typing import Any

UNTOLD = {"told": False}
"""Metadata of such a field of a dataclass: `field(metadata=UNTOLD)`."""


def is_told(field: Field[Any]) -> bool:
    """Whether a field is part of the JSON."""
    return bool(field.metadata.get("told", True))
