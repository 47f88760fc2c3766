"""Saving: a page is written whole or not at all, and never over somebody else's file."""

from __future__ import annotations

import os
import secrets
from os import PathLike
from pathlib import Path

from thalweg._errors import ThalwegError

MARK = '<meta name="generator" content="thalweg'
"""By this, within its first bytes, thalweg knows a page that it wrote itself."""

_HEAD = 4096


def save_html(html: str, path: str | PathLike[str]) -> Path:
    """Writes a page in one move: a reader sees the old file or the new one, never half of it."""
    target = check_writable(path)
    temporary = _beside(target)
    try:
        temporary.write_text(html, encoding="utf-8", errors="replace", newline="\n")
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def check_writable(path: str | PathLike[str]) -> Path:
    """Refuses a place where a page cannot be saved, before the work that fills the page.

    Args:
        path: where the page is to be saved.

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
    if target.exists():
        _check_own(target)
    probe = _beside(target)
    try:
        probe.touch(exist_ok=False)
    except OSError as error:
        raise _cannot_write(target, error) from error
    finally:
        probe.unlink(missing_ok=True)
    return target


def _check_own(target: Path) -> None:
    """Refuses what is no ordinary file, and a file with content that thalweg did not write."""
    if not target.is_file():
        kind = "a directory" if target.is_dir() else "no ordinary file"
        raise ThalwegError(
            f"cannot save {target}: it is {kind}; choose a file, such as --out report.html"
        )
    try:
        with target.open("rb") as file:
            head = file.read(_HEAD)
    except OSError as error:
        raise _cannot_write(target, error) from error
    if head and MARK.encode() not in head:
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
