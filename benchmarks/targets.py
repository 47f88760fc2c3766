"""Targets: what the tables must show, and whether they do."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks import dense, densities, eigenvalues, memory, traces, tracking
from benchmarks.line import OURS, PEER, REFERENCE, Line

Lines = list[Line]


@dataclass(frozen=True)
class Target:
    """One wish and what was found.

    Args:
        wish: in words.
        where: network, threads, dtype.
        found: in words.
        is_met: None where it was not measured.
    """

    wish: str
    where: str
    found: str
    is_met: bool | None


def judge(lines: Lines) -> list[Target]:
    """All targets on all processes that measured them."""
    found: list[Target] = []
    stages = dict.fromkeys((x.network, x.threads, x.dtype) for x in lines)
    for network, threads, dtype in stages:
        here = [x for x in lines if (x.network, x.threads, x.dtype) == (network, threads, dtype)]
        where = f"{network}, {threads} thread{'s' * (threads > 1)}, {dtype}"
        found += [Target(wish, where, *verdict) for wish, verdict in _verdicts(network, here)]
    return found


FAST_PATH = {"W1": 1.0, "W2": 1.55, "W3": 1.6, "W4": 1.7}
GGN = {"W1": 1.0, "W2": 1.2, "W3": 1.1, "W4": 1.35}


def _verdicts(network: str, here: Lines) -> Iterable[tuple[str, tuple[str, bool | None]]]:
    product = "Hessian product"
    yield "one product ≤ 1.05 × the graph retained by hand", _beside(here, product, REFERENCE, 1.05)
    yield "one product ≤ the fastest right peer", _beside(here, product, PEER, 1.0)
    yield (
        f"a long run's product ≤ {FAST_PATH[network]} gradients",
        _at_most(here, "Hessian block of 8, a vector", FAST_PATH[network]),
    )
    yield f"GGN product ≤ {GGN[network]} gradients", _at_most(here, "GGN product", GGN[network])
    yield (
        "five largest pairs to 1e-3 in ≤ ½ of the fastest right peer's time",
        _beside(here, eigenvalues.QUANTITY, PEER, 0.5),
    )
    yield "λ_max and λ_min for the price of the dearer alone (1.1 ×)", _both_ends(here)
    if any(x.quantity == densities.QUANTITY for x in here):
        yield (
            "density in ≤ ⅓ of the fastest right peer's time",
            _beside(here, densities.QUANTITY, PEER, 1 / 3),
        )
        yield "dense Hessian ≤ 1.0 gradient a row", _at_most(here, dense.QUANTITY, 1.0)
    if any(x.quantity == traces.QUANTITY for x in here):
        yield "trace to 1 % in ≤ 40 products", _at_most(here, traces.QUANTITY, 40)
        yield (
            "trace in no more products than a peer",
            _beside(here, traces.QUANTITY, PEER, 1),
        )
    if any(x.quantity == tracking.QUANTITY for x in here):
        yield "tracking λ_max ≤ 1.5 × the plain step", _at_most(here, tracking.QUANTITY, 1.5)
        yield "at every 16th step ≤ 1.10 × (λ_max only)", _at_most(here, tracking.SPARSE, 1.1)
    if any(x.quantity == memory.QUANTITY for x in here):
        yield (
            "at most two vectors beyond basis, pass and result",
            _at_most(here, memory.QUANTITY, memory.ALLOWED),
        )


def _best(here: Lines, quantity: str, roles: Callable[[str], bool]) -> Line | None:
    """The fastest that is right."""
    right = [x for x in here if x.quantity == quantity and roles(x.role) and x.is_right]
    return min(right, key=lambda x: x.cost or 0.0, default=None)


def _ours(here: Lines, quantity: str) -> Line | None:
    return _best(here, quantity, lambda role: role == OURS)


def _at_most(here: Lines, quantity: str, limit: float) -> tuple[str, bool | None]:
    ours = _ours(here, quantity)
    if ours is None or ours.cost is None:
        lines = [x for x in here if x.quantity == quantity and x.role == OURS]
        return _missing(lines)
    return f"{ours.cost:.3g}{_told_apart(ours, here)}", ours.cost <= limit


def _told_apart(ours: Line, here: Lines) -> str:
    """Which of ours it is, where several are right."""
    right = [x for x in here if x.quantity == ours.quantity and x.role == OURS and x.is_right]
    return f" ({ours.contender})" if len(right) > 1 else ""


def _beside(here: Lines, quantity: str, role: str, factor: float) -> tuple[str, bool | None]:
    ours, other = _ours(here, quantity), _best(here, quantity, lambda r: r == role)
    if ours is None or ours.cost is None:
        return _missing([x for x in here if x.quantity == quantity and x.role == OURS])
    if other is None or other.cost is None:
        return f"{ours.cost:.3g}; nobody to compare with is right", True if role == PEER else None
    ratio = ours.cost / other.cost
    return (
        f"{ours.cost:.3g} / {other.cost:.3g} ({other.contender}) = {ratio:.2f}",
        ratio <= factor,
    )


def _both_ends(here: Lines) -> tuple[str, bool | None]:
    lines = [x for x in here if x.quantity == eigenvalues.ENDS]
    costs = {x.contender: x.cost for x in lines if x.is_right and x.cost}
    if len(costs) < 3:
        return _missing(lines)
    both = costs.pop("thalweg")
    # One end may need more steps than the other; a Krylov space serves both alike.
    alone = max(costs.values())
    return f"{both:.3g} / {alone:.3g} = {both / alone:.2f}", both <= 1.1 * alone


def _missing(lines: Lines) -> tuple[str, bool | None]:
    if not lines:
        return "not measured", None
    line = lines[0]
    if line.note:
        return line.note, False
    return f"wrong by {line.error:.1e}" if line.error is not None else "not measured", False
