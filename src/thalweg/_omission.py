"""Omission: what was not measured or tried, and why."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Omission:
    """What was not measured, and why.

    Args:
        name: what would have been measured.
        reason: why it was not.
    """

    name: str
    reason: str
