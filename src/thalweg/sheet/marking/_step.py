"""Step: one link of a chain on the page, and what was found about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What is said about a step."""

    OK = "ok"
    WRONG = "wrong"
    CARRIED = "carried"
    UNREAD = "unread"


class Slip(StrEnum):
    """What a wrong step looks like."""

    SIGN = "sign"
    DROPPED_FACTOR = "dropped factor"
    DROPPED_TERM = "dropped term"
    TRANSPOSED = "transposed product"
    ACTIVATION = "wrong activation derivative"
    ARITHMETIC = "arithmetic"
    ROUNDING = "rounding"
    COPIED = "copied number"
    POINT = "decimal point"
    SHAPE = "shape"
    FORMULA = "wrong formula"
    INEQUALITY = "inequality"


@dataclass(frozen=True)
class Step:
    """One link of a chain a = b ≈ c: what stands right of a relation, judged.

    Attributes:
        line: where it stands on the page, from 1.
        verdict: `ok`; `wrong`, where an error is made; `carried`, where it follows correctly from
            one made before; `unread`, where it was not checked.
        claimed: what stands on the page.
        right: the right value, to the digits that were claimed; "" where it is not known.
        kind: of a wrong step the likely slip; of an ok one "given" or "definition" where nothing
            was to be computed; of one that is not checked, why.
        subject: what the chain is about: the name or formula that it begins with.
    """

    line: int
    verdict: Verdict
    claimed: str
    right: str = ""
    kind: str = ""
    subject: str = ""
