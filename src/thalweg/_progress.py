"""Progress: what a long call tells while it is under way."""

from collections.abc import Callable

Progress = Callable[[str, float], None]
"""Told what is being done, and which share of the whole is behind."""
