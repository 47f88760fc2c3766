"""Budget: how much an examination may spend, in seconds or in gradients."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import ceil, floor, log10

from thalweg._errors import BudgetError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Budget:
    """How much may be spent. A gradient is one pass over all data, forward and backward.

    In gradients an examination repeats exactly; in seconds it adapts its plan to the machine.

    Args:
        amount: seconds or gradients.
        is_seconds: which of the two.
    """

    amount: float
    is_seconds: bool

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Reads `60`, `60s`, `2m` (time) or `5000g` (gradients).

        Raises:
            BudgetError: if it is none of these, or not positive.

        Example:
            >>> Budget.parse("2m")
            Budget(amount=120.0, is_seconds=True)
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d*)?|\.\d+)\s*(g|s|m|h|)\s*", text)
        if match is None or float(match[1]) <= 0:
            raise BudgetError(
                f"budget {text!r} cannot be read; give seconds or minutes as 60s or 2m, or "
                f"gradients as 5000g"
            )
        if match[2] == "g":
            return cls(float(match[1]), False)
        return cls(float(match[1]) * _UNITS[match[2]], True)

    def gradients(self, share: float, seconds_per_gradient: float) -> float:
        """How many gradients a share of the budget buys at a measured price."""
        if self.is_seconds:
            return share * self.amount / max(seconds_per_gradient, 1e-9)
        return share * self.amount

    def times(self, factor: float) -> Budget:
        """A budget that much larger, rounded up to two digits."""
        amount = self.amount * factor
        digit = 10.0 ** (floor(log10(amount)) - 1)
        return Budget(ceil(amount / digit) * digit, self.is_seconds)

    @property
    def typed(self) -> str:
        """As it is typed: 60s, 5000g."""
        return f"{self.amount:.12g}{'s' if self.is_seconds else 'g'}"

    def __str__(self) -> str:
        return f"{self.amount:g} s" if self.is_seconds else f"{self.amount:g} gradients"
