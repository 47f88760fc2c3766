"""Tuning: which of a few ways makes the most progress for its cost, found while walking."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf, isnan, log, nan
from typing import Any

WINDOW = 3
"""Steps that are judged together."""

HOPELESS = 0.5
"""A window ends after one step where it earns less than this share of the best."""

UNTRIED = 1e-300
"""What is expected of a way that was not tried: more than of one that gained nothing."""

NONE = -1
"""The number of no way."""

MIN_WAIT, MAX_WAIT = 2, 4
"""Windows until a way that lost is tried again; twice as many each time that it loses. What is the
best way changes within ten windows, and a way that loses is left after a step."""


class Tuning:
    """A choice between a few ways, each with a size of its own, by progress per cost.

    Progress is the fall of the logarithm of the loss, cost counted in gradients, so that a run
    repeats itself. The first way goes first; the others are tried for a window of steps after a
    pause, which doubles whenever they lose; the best goes on. Within a way the size moves by one
    rung a window, and turns round where progress falls.

    Everything that is known stands in a dict of numbers, which the optimizer keeps.

    Args:
        state: the dict; `Tuning.fresh` makes a new one.
        sizes: the rungs.
        ways: the numbers of those that there are to choose from now; the first one goes first.

    Source: the climb after the self-tuned subspace of this library's own study; the pause is the
    exponential back-off of Metcalfe and Boggs 1976.

    Example:
        >>> state = Tuning.fresh(num_ways=2, rung=1)
        >>> tuning = Tuning(state, sizes=(4, 8, 12), ways=(0, 1))
        >>> tuning.way, tuning.size
        (0, 8)
        >>> for _ in range(6):
        ...     tuning.learn(before=1.0, after=0.9, cost=10.0)
        >>> tuning.way
        1
    """

    def __init__(
        self, state: dict[str, Any], sizes: tuple[int, ...], ways: tuple[int, ...]
    ) -> None:
        self._state = state
        self._sizes = sizes
        self._numbers = ways

    @staticmethod
    def fresh(num_ways: int, rung: int) -> dict[str, Any]:
        """What is known before the first step.

        Args:
            num_ways: the number of ways.
            rung: the size to begin with.
        """
        way = {"rate": nan, "rung": rung, "heading": 1, "pause": 0, "wait": MIN_WAIT}
        ways = {str(number): dict(way) for number in range(num_ways)}
        return {"way": NONE, "steps": 0, "gain": 0.0, "cost": 0.0, "ways": ways}

    @property
    def way(self) -> int:
        """The number of the way that is taken now."""
        way = int(self._state["way"])
        return way if way in self._numbers else self._numbers[0]

    @property
    def size(self) -> int:
        """Its size now."""
        return self._sizes[int(self._current["rung"])]

    @property
    def _ways(self) -> Mapping[str, dict[str, Any]]:
        ways: Mapping[str, dict[str, Any]] = self._state["ways"]
        return {str(number): ways[str(number)] for number in self._numbers}

    @property
    def _current(self) -> dict[str, Any]:
        return self._ways[str(self.way)]

    def learn(self, before: float, after: float, cost: float, *, is_sound: bool = True) -> None:
        """Takes in a step, and chooses for the next one.

        Args:
            before: the loss at its start.
            after: the loss at its end.
            cost: in gradients.
            is_sound: whether the way is fit to go on, whatever it gained.
        """
        state = self._state
        state["steps"] += 1
        state["gain"] += progress(before, after)
        state["cost"] += cost
        rate = state["gain"] / state["cost"] if is_sound else -inf
        others = [w["rate"] for k, w in self._ways.items() if k != str(self.way)]
        rival = max((r for r in others if not isnan(r)), default=-inf)
        if state["steps"] < WINDOW and rate > 0 and not rate < HOPELESS * rival:
            return
        self._climb(rate, is_whole=state["steps"] == WINDOW)
        state.update(steps=0, gain=0.0, cost=0.0)
        self._choose(rate, rival)

    def _climb(self, rate: float, *, is_whole: bool) -> None:
        way = self._current
        if is_whole:
            if rate < way["rate"]:
                way["heading"] = -way["heading"]
            top = len(self._sizes) - 1
            if not 0 <= way["rung"] + way["heading"] <= top:
                way["heading"] = -way["heading"]
            way["rung"] = min(max(way["rung"] + way["heading"], 0), top)
        way["rate"] = rate

    def _choose(self, rate: float, rival: float) -> None:
        way = self._current
        if rate < rival:
            way["wait"] = min(2 * way["wait"], MAX_WAIT)
        else:
            way["wait"] = MIN_WAIT
        way["pause"] = 0
        for key, other in self._ways.items():
            if key != str(self.way):
                other["pause"] += 1
        for key, other in self._ways.items():
            is_due = other["pause"] >= other["wait"]
            if key != str(self.way) and is_due:
                self._state["way"] = int(key)
                return
        self._state["way"] = max(self._numbers, key=self._rate)

    def _rate(self, way: int) -> float:
        rate: float = self._ways[str(way)]["rate"]
        return UNTRIED if isnan(rate) else rate


def progress(before: float, after: float) -> float:
    """By how much the logarithm of a loss fell; of one that may be negative, by what share of it.

    Args:
        before: the loss.
        after: the same later.

    Example:
        >>> progress(1.0, 0.5), progress(-1.0, -1.5)
        (0.6931471805599453, 0.5)
    """
    if before > 0 and after > 0:
        return log(before / after)
    return (before - after) / abs(before) if before else float(before - after > 0)
