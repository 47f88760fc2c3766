"""Who races: ours with one setting for all problems, the peers with several each."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.race import SHELF, Contender
from thalweg.race._trial import Setting

OURS = "saddle-free"
"""By its name on the shelf."""

PEERS = (
    "adam", "momentum", "nesterov", "lbfgs", "muon", "soap", "shampoo", "adahessian", "sophia",
    "scipy-trust-ncg", "scipy-trust-krylov", "torchmin-newton-cg", "torchmin-trust-ncg",
    "torchmin-l-bfgs",
)  # fmt: skip

NUM_SETTINGS = 6
"""Tried of each peer; of ours the default alone."""


@dataclass(frozen=True)
class Entrant:
    """Somebody who races.

    Args:
        name: on the shelf.
        contender: how it runs.
        settings: what is tried of it.
        is_ours: whether it is thalweg's.
    """

    name: str
    contender: Contender
    settings: tuple[Setting, ...]
    is_ours: bool


def entrants(names: list[str], is_quick: bool) -> list[Entrant]:
    """Those of these names that can run here, ours with its default setting alone."""
    found = []
    for name in names:
        contender = SHELF[name]
        if contender.missing:
            print(f"{name} does not race: {contender.missing}", flush=True)
            continue
        is_ours = name == OURS
        # A schedule over a budget has no sense where a run ends at a target.
        held = [setting for setting in contender.settings if "schedule" not in setting]
        count = 1 if is_ours else 2 if is_quick else NUM_SETTINGS
        found.append(Entrant(name, contender, tuple(held[:count]), is_ours))
    return found
