"""Hook: what a monitor puts on a model, which copies and files of that model do without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Hook:
    """Calls a function; its copies, and what is read back from a file, do nothing.

    Args:
        function: called with what the hook is called with.
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self._function = function

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        self._function(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, Any]) -> Hook:
        return Hook(nothing)

    def __reduce__(self) -> tuple[type[Hook], tuple[Callable[..., None]]]:
        return Hook, (nothing,)


def nothing(*_: Any, **__: Any) -> None:
    """Does nothing."""
