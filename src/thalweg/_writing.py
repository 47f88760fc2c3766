"""Writing: a file whole or not at all, and never over somebody else's."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

from thalweg._errors import ThalwegError

MARK = "thalweg"
"""Stands near the head of every text that thalweg writes."""

_HEAD = 4096


@contextmanager
def in_one_move(target: Path) -> Iterator[Path]:
    """A new name beside a file, which takes the file's place when the block ends well.

    A reader sees the old file or the new one, never half of it. What goes wrong leaves the old.

    Args:
        target: the file; its directory must be there.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as place:
        ...     target = Path(place, "a.txt")
        ...     with in_one_move(target) as beside:
        ...         _ = beside.write_text("all of it")
        ...     target.read_text()
        'all of it'
    """
    beside = _beside(target)
    try:
        yield beside
        os.replace(beside, target)
    finally:
        beside.unlink(missing_ok=True)


def try_writing(target: Path) -> None:
    """Makes an empty file in the target's directory and removes it; an OSError says why not."""
    probe = _beside(target)
    try:
        probe.touch(exist_ok=False)
    finally:
        probe.unlink(missing_ok=True)


def write_text(text: str, path: str | PathLike[str], mark: str = MARK) -> Path:
    """Writes a text in one move.

    Args:
        text: with the mark near its head.
        path: where; a file that is there is replaced if thalweg wrote it.
        mark: by which thalweg knows what it wrote.

    Returns:
        The file written, links followed.

    Raises:
        ThalwegError: as `check_writable`.
    """
    target = check_writable(path, mark)
    try:
        with in_one_move(target) as beside:
            beside.write_text(text, encoding="utf-8", errors="replace", newline="\n")
    except OSError as error:
        raise _cannot_write(target, error) from error
    return target


def check_writable(path: str | PathLike[str], mark: str = MARK) -> Path:
    """Refuses a place where a text cannot be saved, before the work that makes the text.

    Args:
        path: where the text is to be saved.
        mark: by which thalweg knows what it wrote.

    Returns:
        The file itself, links followed.

    Raises:
        ThalwegError: if the directory is missing or cannot be written to, if the path is no
            ordinary file, or if a file that thalweg did not write is there.

    Cost: an empty file is made in the directory and removed.

    Example:
        >>> check_writable("nowhere/report.html")
        Traceback (most recent call last):
        ...
        thalweg._errors.ThalwegError: cannot save nowhere/report.html: there is no directory \
nowhere; create it, or choose another --out
    """
    given = Path(path).expanduser()
    target = given.resolve()
    if not target.parent.is_dir():
        raise ThalwegError(
            f"cannot save {given}: there is no directory {given.parent}; create it, or choose "
            f"another --out"
        )
    try:
        if target.exists():
            _check_own(target, mark)
        try_writing(target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    return target


def _check_own(target: Path, mark: str) -> None:
    """Refuses what is no ordinary file, and a file with content that thalweg did not write."""
    if not target.is_file():
        kind = "a directory" if target.is_dir() else "no ordinary file"
        raise ThalwegError(
            f"cannot save {target}: it is {kind}; choose a file, such as --out report.html"
        )
    with target.open("rb") as file:
        head = file.read(_HEAD)
    if head and mark.encode() not in head:
        raise ThalwegError(
            f"will not overwrite {target}: thalweg did not write it; choose another --out, or move "
            f"the file away"
        )


def _beside(target: Path) -> Path:
    """A new name in the target's directory, so that the last move stays on one disk."""
    return target.with_name(f".thalweg-{secrets.token_hex(8)}.tmp")


def _cannot_write(target: Path, error: OSError) -> ThalwegError:
    reason = error.strerror or type(error).__name__
    return ThalwegError(f"cannot save {target}: {reason}; choose another --out")
