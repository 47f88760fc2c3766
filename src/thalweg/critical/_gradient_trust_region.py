"""The default: a trust region on ‖∇L‖², with curved steps, one eigenbasis for many steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.critical._eigenbasis import Eigenbasis
from thalweg.critical._ground import Ground, Place
from thalweg.critical._least_gradient import flatness, least_gradient_step
from thalweg.critical._solver import Solver, Stride

FLAT = 0.9
"""Above this r the gradient lies where the Hessian has no curvature (Frye et al. 2021, §3)."""

NULL = 1e-4
"""Share of max|λ| below which curvature counts as none, for the question whether it is flat."""

AGAIN = 0.5
"""An eigenbasis serves on while each step leaves at most this share of the gradient."""

SMALLEST = 1e-13
"""The radius, as a share of ‖θ‖, below which no step is taken."""


@dataclass(frozen=True)
class GradientTrustRegion(Solver):
    """Levenberg–Marquardt on ½‖∇L‖² in the eigenbasis of H, with acceleration and escapes.

        min ‖∇L + H s‖ over ‖s‖ ≤ Δ,   then a = −½ (H² + μ)⁻¹ H ∇³L[s, s]

    The eigenvalues of H serve every radius, and while the gradient halves, several steps. Null
    directions, which every network has, take no part, so that convergence stays quadratic where
    critical points form manifolds. Where the gradient has come to lie in them (r > 0.9) nothing of
    first order lowers ‖∇L‖: the step goes down the loss along them instead, and is counted.

    Args:
        radius: Δ at first, as a share of max(‖θ‖, 1).
        is_curved: whether steps follow the curve, at a gradient for each eigenbasis.

    Raises:
        ThalwegError: if the radius is not positive.

    Cost: an eigenbasis (n products, or krylov_steps) and some gradients for each step or more.

    Example:
        >>> GradientTrustRegion().name
        'trust region on the gradient'

    Source: Moré 1978 for the radius; Transtrum and Sethna 2012, "Improvements to the
    Levenberg-Marquardt algorithm for nonlinear least-squares minimization", eq. 13 and 15, for the
    acceleration, by a difference of gradients; Shamanskii 1967 for the steps without a new
    Jacobian; the escapes are ours.
    """

    radius: float = 0.3
    is_curved: bool = True

    def __post_init__(self) -> None:
        if not self.radius > 0:
            raise ThalwegError(
                f"GradientTrustRegion(radius={self.radius}); give a positive share, such as 0.3"
            )

    @property
    def name(self) -> str:
        """The method in words."""
        return "trust region on the gradient"

    def walk(self, ground: Ground, start: Place) -> Iterator[Stride]:
        """The accepted steps."""
        place = start
        radius = self.radius * max(float(place.vector.norm()), 1.0)
        while True:
            basis = ground.basis(place)
            if _is_flat(basis, place):
                place, radius = _down_the_null_space(ground, basis, place, radius)
                yield Stride(place, is_escape=True)
                continue
            is_fresh = True
            while True:
                step = self._step(ground, basis, place, radius, is_fresh)
                there = ground.at(place.vector + step.move)
                ratio = step.ratio(place.slope, there.slope)
                if ratio < 1e-4:
                    if not is_fresh:
                        break
                    radius = min(radius, step.length) / 3
                    if radius < SMALLEST * max(float(place.vector.norm()), 1.0):
                        yield Stride(place, stuck="no step shortens the gradient any more")
                        return
                    continue
                if ratio > 0.75:
                    radius = max(radius, 2 * step.length)
                elif ratio < 0.25:
                    radius = step.length / 2
                share = there.slope / place.slope
                place, is_fresh = there, False
                yield Stride(place)
                if share > AGAIN:
                    break

    def _step(
        self,
        ground: Ground,
        basis: Eigenbasis,
        place: Place,
        radius: float,
        is_fresh: bool,
    ) -> _Step:
        c = basis.inside(place.gradient)
        s, damping = least_gradient_step(basis.values, c, radius, basis.rounding)
        before, after = float(c.norm()), float((c + basis.values * s).norm())
        move = basis.outside(s)
        length = float(s.norm())
        if self.is_curved and is_fresh and length > 1e-6 * max(float(place.vector.norm()), 1.0):
            bend = _acceleration(ground, basis, place, s, damping)
            # Beyond half of the step the expansion is not to be trusted (Transtrum, eq. 15).
            if float(bend.norm()) <= 0.75 * length:
                move = move + basis.outside(bend)
        hidden = max(place.slope**2 - before**2, 0.0)
        gain = 1.0 - ((after**2 + hidden) ** 0.5 / place.slope) ** 2 if place.slope else 0.0
        return _Step(move, length, gain)


@dataclass(frozen=True, eq=False)
class _Step:
    """A move, its length, and the share of ‖∇L‖² that the model takes off."""

    move: Float[Tensor, " n"]
    length: float
    gain: float

    def ratio(self, before: float, after: float) -> float:
        """Actual over predicted decrease of ‖∇L‖²."""
        if not isfinite(after) or not before:
            return -1.0
        actual = 1.0 - (after / before) ** 2
        return actual / self.gain if self.gain > 0 else -1.0


def _acceleration(
    ground: Ground, basis: Eigenbasis, place: Place, s: Float[Tensor, " m"], damping: float
) -> Float[Tensor, " m"]:
    """−½ (Λ² + μ)⁻¹ Λ Vᵀ∇³L[s, s], by the gradient a tenth of the way along s."""
    h = 0.1
    ahead = ground.at(place.vector + h * basis.outside(s)).gradient - place.gradient
    second = (basis.inside(ahead) - h * basis.values * s) * (2 / h**2)
    return -0.5 * second * basis.values / (basis.values.square() + damping)


def _is_flat(basis: Eigenbasis, place: Place) -> bool:
    c = basis.inside(place.gradient)
    r, _ = flatness(basis.values, c, place.slope, basis.frobenius, NULL * basis.largest)
    noise = 10 * basis.rounding * max(float(place.vector.norm()), 1.0)
    return r > FLAT and place.slope > noise


def _down_the_null_space(
    ground: Ground, basis: Eigenbasis, place: Place, radius: float
) -> tuple[Place, float]:
    """Down the loss along what of the gradient no curvature meets, as far as it falls."""
    c = basis.inside(place.gradient)
    is_null = basis.values.abs() <= NULL * basis.largest
    seen = basis.outside(torch.where(is_null, 0.0, c))
    way = -(place.gradient - seen)
    way = way / way.norm()
    best, length = place, radius
    for _ in range(12):
        there = ground.at(place.vector + length * way)
        if not (isfinite(there.value) and there.value < best.value):
            break
        best, length = there, 2 * length
    if best is place:
        # Too far at once: the descent is real only nearby.
        for _ in range(40):
            length /= 4
            there = ground.at(place.vector + length * way)
            if there.value < place.value:
                return there, length
    return best, max(length / 2, radius)
