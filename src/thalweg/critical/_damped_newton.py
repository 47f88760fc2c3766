"""Damped Newton: the damping of each step is the one of a row that shortens the gradient most."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

from thalweg.critical._ground import Ground, Place
from thalweg.critical._solver import Solver, Stride


@dataclass(frozen=True)
class DampedNewton(Solver):
    """p = −(H + γI)⁻¹ ∇L, with the γ of 10⁰ … 10⁻⁶ max|λ| after which ‖∇L‖ is smallest.

    Args:
        exponents: of the dampings tried, as powers of ten times max|λ|.

    Example:
        >>> DampedNewton().name
        'damped Newton'

    Source: Dauphin et al. 2014, section 6, which picks the damping of each step from such a row,
    there by the loss, here by the gradient.
    """

    exponents: tuple[int, ...] = (0, -1, -2, -3, -4, -5, -6)

    @property
    def name(self) -> str:
        """The method in words."""
        return "damped Newton"

    def walk(self, ground: Ground, start: Place) -> Iterator[Stride]:
        """The accepted steps."""
        place = start
        while True:
            basis = ground.basis(place)
            c = basis.inside(place.gradient)
            tried = []
            for exponent in self.exponents:
                shifted = basis.values + 10.0**exponent * basis.largest
                is_kept = shifted.abs() > basis.rounding
                s = -(c / shifted.where(is_kept, shifted.new_tensor(float("inf"))))
                tried.append(ground.at(place.vector + basis.outside(s)))
            finite = [there for there in tried if isfinite(there.slope)]
            best = min(finite, key=lambda there: there.slope, default=place)
            if best.slope >= place.slope:
                yield Stride(place, stuck="no damping of the row shortens the gradient")
                return
            place = best
            yield Stride(place)
