"""Plan: at which step what is read, so that the monitor stays within its share of the time."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from math import ceil, isinf

from thalweg.monitor._instrument import Instrument

LONGEST_WAIT = 4096
"""Steps; however dear, a reading comes within so many of the last."""

FOR_CHEAP = 0.5
"""Share of the allowance that cheap instruments take at most, where there are dear ones."""

AIM = 0.85
"""Of the share that is asked for: some readings take longer than the last ones did."""


class Plan:
    """Decides, after every reading, the step of the next and what is read there.

    The allowance grows by `overhead` of the training's time. The cheap instruments are read
    together, every `every` steps or as often as half of the allowance bears; the dear ones share
    equally what these leave, and each is read when what it has saved pays for it.

    Args:
        members: all instruments.
        every: the fewest steps between readings.
        overhead: the share of the training's time; infinite for everything at every reading.
    """

    def __init__(self, members: Sequence[Instrument], every: int, overhead: float) -> None:
        self.every, self.overhead = every, overhead * AIM
        self._members = list(members)
        self._seconds: dict[str, deque[float]] = {}
        self._spent = dict.fromkeys((member.name for member in members), 0.0)

    @property
    def _cheap(self) -> list[Instrument]:
        return [m for m in self._members if m.guess < 1]

    @property
    def _dear(self) -> list[Instrument]:
        return [m for m in self._members if m.guess >= 1]

    def first(self) -> list[Instrument]:
        """What is read at the first step."""
        return self._members if isinf(self.overhead) else self._cheap

    def learn(self, seconds: Mapping[str, float]) -> None:
        """Takes note of what each instrument took in a reading."""
        for name, took in seconds.items():
            self._seconds.setdefault(name, deque(maxlen=3)).append(took)
            self._spent[name] += took

    def next(self, step: int, training: float, spent: float) -> tuple[int, list[Instrument]]:
        """The next step to read at, and what.

        Args:
            step: the step just read.
            training: seconds of the training up to now, without the monitor.
            spent: seconds of the monitor up to now.
        """
        if isinf(self.overhead):
            return step + self.every, self._members
        a_step = training / max(step - 1, 1)
        allowance = self.overhead * a_step
        cheap = sum(self._cost(m, a_step) for m in self._cheap)
        if a_step <= 0:
            return step + self.every, self._cheap
        share = FOR_CHEAP if self._dear else 1.0
        wait = max(self.every, ceil(cheap / (share * allowance)))
        # What was spent too much is saved first.
        wait = max(wait, ceil((spent + cheap - self.overhead * training) / allowance))
        at = step + min(wait, LONGEST_WAIT)
        allowed = self.overhead * training + allowance * (at - step)
        left = allowed - spent - cheap
        dear = self._dear
        on_dear = sum(self._spent[member.name] for member in dear)
        account = (left + on_dear) / max(len(dear), 1)
        due = self._cheap
        for member in dear:
            cost = self._cost(member, a_step)
            if self._spent[member.name] + cost <= account and cost <= left:
                due, left = [*due, member], left - cost
        return at, [m for m in self._members if m in due]

    def _cost(self, member: Instrument, a_step: float) -> float:
        """Seconds of a reading: the least of the last three, since first ones build something."""
        if member.name in self._seconds:
            return min(self._seconds[member.name])
        return (member.guess + 0.1) * a_step
