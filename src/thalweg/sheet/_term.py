"""Term: what an expression of a text came to, a constant or a step."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.symbolic import Label

_SIMPLE = frozenset("0123456789.eπ")


@dataclass(frozen=True)
class Term:
    """What an expression came to: a constant worked out at once, or a step of the draft.

    Args:
        value: in float64.
        label: as it is set.
        place: in the draft; None of a constant.
        is_row: whether a vector lies.
    """

    value: Tensor
    label: Label
    place: int | None = None
    is_row: bool = False

    @property
    def is_number(self) -> bool:
        return self.value.ndim == 0

    @property
    def shape(self) -> str:
        if self.is_number:
            return "a number"
        kind = "row" if self.is_row else "vector" if self.value.ndim == 1 else "matrix"
        return f"a {kind} of {'×'.join(map(str, self.value.shape))}"


def scalar(value: float) -> Tensor:
    """A number in float64."""
    return torch.tensor(value, dtype=torch.float64)


def held(term: Term) -> Label:
    """A constant in brackets, unless it is one number or vector without a sign."""
    text = term.label.text
    if term.place is not None or _SIMPLE.issuperset(text) or text[:1] == "[":
        return term.label
    if term.label.latex.startswith("\\frac"):
        return Label(f"({text})", term.label.latex)
    return Label(f"({text})", f"\\left({term.label.latex}\\right)")
