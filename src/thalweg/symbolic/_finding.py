"""What a derivation found, and how it was compared with autograd."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.symbolic._label import Label

TOL = 1e-7
"""Relative difference up to which a formula, whose terms may cancel, and autograd are one."""


@dataclass(frozen=True)
class Verification:
    """A formula beside autograd at random points.

    Args:
        num_points: at which both are finite.
        deviation: largest difference, as a share of the largest entry.
    """

    num_points: int
    deviation: float

    @property
    def said(self) -> str:
        """In a sentence."""
        if not self.num_points:
            return "not verified: no random point was found at which it is finite"
        points = "this point" if self.num_points == 1 else f"{self.num_points} random points"
        close = f"to {self.deviation:.0e}" if self.deviation else "to the last digit"
        return f"agrees with autograd at {points}, {close}"


@dataclass(frozen=True)
class Finding:
    """One derived formula.

    Args:
        title: gradient, Hessian, Taylor polynomial, Newton update, Newton step.
        symbol: what stands left of the equals sign.
        formula: what stands right of it.
        value: at the point asked for; None where none was.
        verification: beside autograd; None where there was nothing to compare.
        note: what is to be said of it, such as that there is none.
    """

    title: str
    symbol: Label
    formula: Label
    value: Label | None = None
    verification: Verification | None = None
    note: str = ""


class Comparison:
    """Collects differences between a formula and autograd.

    Args:
        what: is compared.
    """

    def __init__(self, what: str) -> None:
        self._what = what
        self._num_points = 0
        self._deviation = 0.0

    def add(self, ours: Tensor, theirs: Tensor) -> None:
        """A point; left out where either is not finite.

        Raises:
            ThalwegError: if they differ by more than rounding.
        """
        if not bool(torch.isfinite(ours).all() and torch.isfinite(theirs).all()):
            return
        scale = max(float(theirs.abs().max()), float(ours.abs().max()), 1e-6)
        difference = float((ours - theirs).abs().max()) / scale
        if difference > TOL:
            raise ThalwegError(
                f"the {self._what} derived differs from autograd by {difference:.1e}, so it is not "
                f"shown; this is an error of thalweg, please report it"
            )
        self._num_points += 1
        self._deviation = max(self._deviation, difference)

    @property
    def result(self) -> Verification:
        """What was compared."""
        return Verification(self._num_points, self._deviation)
