"""An extension of griffe: the examples of our docstrings are shown as code."""

import re
from typing import Any

import griffe


class Doctests(griffe.Extension):
    """`Example:` is the heading in our docstrings, `Examples:` what griffe reads as doctests."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Renames the heading."""
        if obj.docstring is not None:
            obj.docstring.value = re.sub(r"(?m)^Example:$", "Examples:", obj.docstring.value)
