"""Texts to files: never over somebody else's, and whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from thalweg._errors import ThalwegError

MARK = "thalweg"
"""Stands near the head of every text that thalweg writes."""

_HEAD = 4096


def check_free(out: Path) -> Path:
    """Refuses a place where a text cannot be written, before the work.

    Raises:
        ThalwegError: if there is no such directory, or a file that thalweg did not write.
    """
    target = out.expanduser().resolve()
    if not target.parent.is_dir():
        raise ThalwegError(
            f"cannot write {out}: there is no directory {out.parent}; create it, or choose another "
            f"--out"
        )
    if not target.exists():
        return target
    if not target.is_file():
        raise ThalwegError(f"cannot write {out}: it is no ordinary file; choose another --out")
    with target.open("rb") as file:
        head = file.read(_HEAD)
    if head and MARK.encode() not in head:
        raise ThalwegError(
            f"will not overwrite {out}: thalweg did not write it; choose another --out, or move "
            f"the file away"
        )
    return target


def write_text(text: str, out: Path) -> Path:
    """Writes a text in one move.

    Raises:
        ThalwegError: if it cannot be written there.
    """
    target = check_free(out)
    temporary = target.with_name(f".thalweg-{secrets.token_hex(8)}.tmp")
    try:
        temporary.write_text(text, encoding="utf-8", newline="\n")
        os.replace(temporary, target)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ThalwegError(f"cannot write {out}: {reason}; choose another --out") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target
