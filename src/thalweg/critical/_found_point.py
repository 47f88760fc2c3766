"""What a walk found: a critical point with its certificate, a flat region, or neither."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import isfinite, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.critical._certificate import Certificate, certificate, split
from thalweg.critical._eigenbasis import Eigenbasis
from thalweg.critical._gradient_trust_region import FLAT, NULL
from thalweg.critical._ground import Ground, Place
from thalweg.critical._least_gradient import flatness
from thalweg.critical._solver import Approach
from thalweg.critical._starts import Start
from thalweg.linalg import Inertia

RUN_OFF = 10.0
"""Where ‖θ‖ grew by this factor and curvature died out, no manifold of critical points is believed:
far out a loss such as exp(−x) rounds to a constant."""


class Status(Enum):
    """What a walk came to."""

    CERTIFIED = "certified"
    FLAT = "flat"
    UNFINISHED = "unfinished"


@dataclass(frozen=True, eq=False)
class FoundPoint:
    """Where a walk ended, and what kind of place it is.

    Args:
        number: of the walk, from 0.
        status: certified, flat or unfinished.
        reason: why, in a sentence.
        params: θ (n,), in the layout's order.
        value: L, weight decay included [loss].
        data_loss: the loss on the data alone [loss].
        gradient_square: ‖∇L‖² [loss²/param²].
        flatness: r of Newton's step over eigenvalues beyond 10⁻⁴ max|λ|.
        kernel_flatness: r_H of the same step.
        inertia: negative, null and positive eigenvalues; the first is the index.
        certificate: after Newton and Kantorovich.
        signature: what the network computes there (s,).
        orbit: number of the first walk that found the same point or a mirror image of it; its own
            number where it is the first, None where nothing was certified.
        start: where it came from.
        num_steps: accepted steps.
        num_escapes: jumps out of flat regions.
        num_kicks: times the walk was sent off from a known point.
        num_gradients: cost in gradient-equivalents.
        num_hessians: eigenbases taken.
    """

    number: int
    status: Status
    reason: str
    params: Float[Tensor, " n"]
    value: float
    data_loss: float
    gradient_square: float
    flatness: float
    kernel_flatness: float
    inertia: Inertia
    certificate: Certificate
    signature: Float[Tensor, " s"]
    orbit: int | None
    start: Start
    num_steps: int
    num_escapes: int
    num_kicks: int
    num_gradients: float
    num_hessians: int

    @property
    def index(self) -> int:
        """The number of negative eigenvalues."""
        return int(self.inertia.negative)

    @property
    def index_share(self) -> float:
        """α, the share of eigenvalues that are negative."""
        return self.index / len(self.params)

    @property
    def is_certified(self) -> bool:
        """Whether this is a critical point of known index."""
        return self.status is Status.CERTIFIED

    def is_same(self, other: FoundPoint) -> bool:
        """Whether the network computes the same there, with the same index."""
        if self.index != other.index or len(self.signature) != len(other.signature):
            return False
        scale = max(float(other.signature.norm()), 1e-3 * sqrt(len(self.signature)))
        return float((self.signature - other.signature).norm()) <= 1e-5 * scale


def judged(
    ground: Ground,
    walk: Approach,
    start: Start,
    number: int,
    *,
    tol: float,
    before: tuple[float, int],
    generator: torch.Generator,
) -> FoundPoint:
    """Reads the place where a walk ended.

    Args:
        ground: the surface.
        walk: the walk.
        start: where it began.
        number: its number.
        tol: ‖∇L‖² below which the gradient counts as zero.
        before: gradients and eigenbases that the ground had counted when the walk began.
        generator: of the certificate.
    """
    place = walk.place
    basis = ground.basis(place)
    if place.slope**2 <= tol:
        place, basis = _polished(ground, place, basis)
    c = basis.inside(place.gradient)
    r, r_h = flatness(basis.values, c, place.slope, basis.frobenius, NULL * basis.largest)
    proof = certificate(ground, place, basis, generator)
    status, reason = _status(ground, place, start, walk, proof, basis, r, tol)
    negative, null, positive = split(basis, proof.null_tol)
    return FoundPoint(
        number=number,
        status=status,
        reason=reason,
        params=place.vector,
        value=place.value,
        data_loss=place.point.value,
        gradient_square=place.slope**2,
        flatness=r,
        kernel_flatness=r_h,
        inertia=Inertia(
            negative,
            null,
            positive,
            (negative, negative) if proof.holds else _open_index(basis, proof),
            proof.null_tol,
            basis.is_whole,
            basis.values.cpu() if basis.is_whole else None,
            ground.size,
        ),
        certificate=proof,
        signature=ground.signature(place),
        orbit=None,
        start=start,
        num_steps=walk.num_steps,
        num_escapes=walk.num_escapes,
        num_kicks=walk.num_kicks,
        num_gradients=ground.num_gradients - before[0],
        num_hessians=ground.num_hessians - before[1],
    )


def _open_index(basis: Eigenbasis, proof: Certificate) -> tuple[int, int]:
    """Between which numbers the index may be, if eigenvalues move as far as K allows."""
    n = basis.vectors.shape[0]
    reach = max(proof.null_tol, 2 * proof.gap * proof.h)
    if not isfinite(reach):
        return 0, n
    low, within, _ = split(basis, reach)
    return low, low + within


def _polished(ground: Ground, place: Place, basis: Eigenbasis) -> tuple[Place, Eigenbasis]:
    """Newton's steps across the null space, for as long as they halve the gradient."""
    for _ in range(4):
        best = place
        for _ in range(4):
            c = basis.inside(best.gradient)
            is_null = basis.values.abs() <= 1e-7 * basis.largest
            s = torch.where(is_null, 0.0, -c / torch.where(is_null, 1.0, basis.values))
            there = ground.at(best.vector + basis.outside(s))
            if not there.slope <= 0.5 * best.slope:
                break
            best = there
        if best is place:
            break
        place, basis = best, ground.basis(best)
    return place, basis


def _status(
    ground: Ground,
    place: Place,
    start: Start,
    walk: Approach,
    proof: Certificate,
    basis: Eigenbasis,
    r: float,
    tol: float,
) -> tuple[Status, str]:
    square = place.slope**2
    before, after = float(start.vector.norm()), float(place.vector.norm())
    has_grown = after > RUN_OFF * max(before, 1.0)
    far = f"‖θ‖ grew from {before:.2g} to {after:.2g}"
    way_out = (
        "" if ground.weight_decay
        else "; a weight decay, of 1e-4 for instance, keeps critical points finite"
    )  # fmt: skip
    if square > tol:
        said = walk.why or "the walk ended"
        if has_grown and not ground.weight_decay:
            return Status.FLAT, f"the walk runs off: {far}, with |∇L|² = {square:.1e}{way_out}"
        if r > FLAT:
            return Status.FLAT, (
                f"|∇L|² = {square:.1e}, and r = {r:.2f}: the gradient lies where the Hessian has "
                f"no curvature, so no critical point is near; {said}"
            )
        return Status.UNFINISHED, f"|∇L|² = {square:.1e} is above {tol:.0e}; {said}"
    if has_grown and not proof.is_proved and (proof.null_dimension or not proof.holds):
        return Status.FLAT, (
            f"the gradient dies out towards infinity: {far}, and the curvature with it{way_out}"
        )
    if proof.holds:
        along = (
            f", along a manifold of {proof.null_dimension} dimensions"
            if proof.null_dimension
            else ""
        )
        return Status.CERTIFIED, (
            f"a critical point is within {proof.distance:.1e}{along} ({proof.kind}: h = "
            f"{proof.h:.1e})"
        )
    if not basis.is_whole:
        return Status.UNFINISHED, (
            "the gradient vanishes, but only a Krylov space of the Hessian was read, so that the "
            "index is open; give a larger dense_up_to"
        )
    if proof.h > 0.5:
        return Status.UNFINISHED, (
            f"the gradient vanishes, but curvature as small as {proof.gap:.1e} changes faster "
            f"than Newton–Kantorovich allows: h = {proof.h:.1e} is above ½"
        )
    if not proof.is_manifold:
        return Status.UNFINISHED, (
            f"the gradient vanishes, but so does the curvature along {proof.null_dimension} "
            f"directions that are not those of a manifold of critical points: the index is open"
        )
    return Status.UNFINISHED, (
        f"the gradient vanishes, but an eigenvalue of {proof.gap:.1e} may change sign within "
        f"{proof.distance:.1e}: the index is open"
    )
