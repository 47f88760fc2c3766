"""Saving: a page is written whole or not at all, and never over somebody else's file."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from thalweg import _writing

MARK = '<meta name="generator" content="thalweg'
"""By this, within its first bytes, thalweg knows a page that it wrote itself."""


def save_html(html: str, path: str | PathLike[str]) -> Path:
    """Writes a page in one move: a reader sees the old file or the new one, never half of it."""
    return _writing.write_text(html, path, MARK)


def check_writable(path: str | PathLike[str]) -> Path:
    """Refuses a place where a page cannot be saved, before the work that fills the page.

    Args:
        path: where the page is to be saved.

    Returns:
        The file itself, links followed.

    Raises:
        ThalwegError: if the directory is missing or cannot be written to, if the path is no
            ordinary file, or if a file that is no page of thalweg's is there.

    Cost: an empty file is made in the directory and removed.

    Example:
        >>> check_writable("nowhere/report.html")
        Traceback (most recent call last):
        ...
        thalweg._errors.ThalwegError: cannot save nowhere/report.html: there is no directory \
nowhere; create it, or choose another --out
    """
    return _writing.check_writable(path, MARK)
