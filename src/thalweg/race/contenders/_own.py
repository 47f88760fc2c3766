"""The optimizers of thalweg.optim."""

from __future__ import annotations

from thalweg.race.contenders._contender import Contender

OWN: dict[str, Contender] = {}
"""By the names that are typed."""
