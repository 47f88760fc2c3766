"""Certificate: how surely a critical point is near, after Newton and Kantorovich."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, nan, sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.critical._eigenbasis import Eigenbasis
from thalweg.critical._ground import Ground, Place
from thalweg.critical._linear_network import linear_network
from thalweg.critical._lipschitz import bounded, estimated

NOISE = 50.0
"""So many roundings a vanishing gradient may be off, times max|λ| max(‖θ‖, 1)."""


@dataclass(frozen=True)
class Certificate:
    """Newton–Kantorovich across the null space: h = β K η ≤ ½ puts a critical point within t*.

        β = 1/min|λ|,   η = ‖Λ⁻¹ Vᵀ∇L‖,   t* = (1 − √(1 − 2h)) / (β K),   over |λ| > null_tol

    Args:
        h: β K η.
        distance: t*, the farthest the critical point can be; infinite where h > ½.
        lipschitz: K [loss/param³].
        gap: min|λ| beyond the null space [loss/param²].
        null_tol: eigenvalues within it are taken as null [loss/param²].
        null_dimension: how many these are.
        null_gradient: the gradient's length within the null space [loss/param].
        is_proved: K is a bound, and the null space that of a symmetry which the loss is known to
            have; rounding of float64 aside. Otherwise K, or that the null space belongs to a
            manifold of critical points, is an estimate.
        is_manifold: null directions lead along a manifold of critical points, by symmetry or in
            three random directions; True where there are none.
        is_index_certain: no eigenvalue beyond the null space can change sign within t*.
    """

    h: float
    distance: float
    lipschitz: float
    gap: float
    null_tol: float
    null_dimension: int
    null_gradient: float
    is_proved: bool
    is_manifold: bool
    is_index_certain: bool

    @property
    def holds(self) -> bool:
        """A critical point is within `distance`, and its index is known."""
        return self.h <= 0.5 and self.is_manifold and self.is_index_certain

    @property
    def kind(self) -> str:
        """What it is worth: "proved", "estimated" or "none"."""
        if not self.holds:
            return "none"
        return "proved" if self.is_proved else "estimated"


def certificate(
    ground: Ground, place: Place, basis: Eigenbasis, generator: torch.Generator
) -> Certificate:
    """Tries the null space that rounding leaves, then the one before the widest gap.

    Args:
        ground: the surface.
        place: where.
        basis: of the Hessian there.
        generator: of the directions in which K and manifolds are tried.

    Returns:
        The first certificate that holds, or that of the null space by rounding.

    Source: Kantorovich 1948; Ortega and Rheinboldt 1970, theorem 12.6.2; restricted to the slice
    across the null space by us: where a symmetry's orbit fills the null space, the gradient is
    normal to it, so that a zero of its part within the slice is a zero.
    """
    tried = [_certified(ground, place, basis, cut, generator) for cut in _cuts(basis)[:1]]
    if not tried[0].holds:
        tried += [_certified(ground, place, basis, cut, generator) for cut in _cuts(basis)[1:]]
    return next((one for one in tried if one.holds), tried[0])


def _cuts(basis: Eigenbasis) -> list[float]:
    """Where the null space may end: at rounding, and before the widest gap of small ones."""
    base = 10 * basis.rounding
    sizes = basis.values.abs().sort().values
    sizes = sizes[(sizes > base) & (sizes < 1e-5 * basis.largest)]
    larger = basis.values.abs()[basis.values.abs() >= 1e-5 * basis.largest]
    if not len(sizes) or not len(larger):
        return [base]
    ladder = torch.cat([sizes, larger.min()[None]])
    widest = int((ladder[1:] / ladder[:-1]).argmax())
    return [base, float((ladder[widest] * ladder[widest + 1]).sqrt())]


def _certified(
    ground: Ground, place: Place, basis: Eigenbasis, cut: float, generator: torch.Generator
) -> Certificate:
    is_null = basis.values.abs() <= cut
    c = basis.inside(place.gradient)
    null_gradient = float(c[is_null].norm())
    kept = basis.values[~is_null]
    null_dimension = int(is_null.sum()) + ground.size - len(basis.values)
    if not len(kept):
        return Certificate(
            inf, inf, nan, 0.0, cut, null_dimension, null_gradient,
            False, False, False,
        )  # fmt: skip
    gap = float(kept.abs().min())
    move = torch.where(is_null, 0.0, -c / torch.where(is_null, 1.0, basis.values))
    eta = float(move.norm())
    K = bounded(place, 2 * eta)
    if K is None or not K.value * eta <= 0.5 * gap:
        # A bound too wide to prove anything leaves the estimate, which is said to be one.
        K = estimated(ground, place, 2 * eta, basis.outside(move), generator)
    h = K.value * eta / gap
    # (1 − √(1 − 2h))/(βK), without the cancellation.
    distance = 2 * eta / (1 + sqrt(1 - 2 * h)) if h <= 0.5 else inf
    floor = NOISE * torch.finfo(torch.float64).eps * ground.size**0.5
    floor *= basis.largest * max(float(place.vector.norm()), 1.0)
    is_still = null_gradient <= floor
    is_symmetric = null_dimension == 0
    is_manifold = is_still
    if null_dimension:
        is_symmetric = _is_orbit(ground, place, basis, is_null, distance)
        is_manifold = is_still and (
            is_symmetric or _leads_along(ground, place, basis, is_null, K.value, generator)
        )
    return Certificate(
        h=h,
        distance=distance,
        lipschitz=K.value,
        gap=gap,
        null_tol=cut,
        null_dimension=null_dimension,
        null_gradient=null_gradient,
        is_proved=K.is_proved and is_symmetric and basis.is_whole,
        is_manifold=is_manifold,
        is_index_certain=basis.is_whole and K.value * distance < gap - cut,
    )


def _is_orbit(
    ground: Ground, place: Place, basis: Eigenbasis, is_null: Tensor, distance: float
) -> bool:
    """Whether the tangents of a known symmetry fill the null space, there and within t*."""
    # Of the symmetries of linear networks weight decay leaves rotations alone.
    network = None if ground.weight_decay else linear_network(place)
    if network is None or not distance < inf:
        return False
    tangents = network.orbit()
    if not tangents.numel():
        return False
    d = int(is_null.sum())
    inside = basis.vectors[:, is_null].T @ tangents
    if min(inside.shape) < d:
        return False
    least = float(torch.linalg.svdvals(inside)[d - 1])
    # Tangents are linear in θ: over t* they change by at most 2t*.
    return least > 2 * distance


def _leads_along(
    ground: Ground,
    place: Place,
    basis: Eigenbasis,
    is_null: Tensor,
    K: float,
    generator: torch.Generator,
) -> bool:
    """Whether the gradient can be made to vanish again a little along three null directions."""
    h = 1e-3 * max(float(place.vector.norm()), 1.0)
    N = basis.vectors[:, is_null]
    inverse = torch.where(is_null, 0.0, 1 / torch.where(is_null, 1.0, basis.values))
    for _ in range(3):
        drawn = torch.randn(N.shape[1], generator=generator, dtype=torch.float64).to(N.device)
        there = ground.at(place.vector + h * (N @ (drawn / drawn.norm())))
        for _ in range(4):
            move = basis.outside(inverse * basis.inside(there.gradient))
            if not float(move.norm()) <= h:
                return False
            there = ground.at(there.vector - move)
        # On no manifold the gradient would be of the order of K h².
        if float((N.T @ there.gradient).norm()) > 1e-3 * K * h**2:
            return False
    return True


def split(basis: Eigenbasis, cut: float) -> tuple[int, int, int]:
    """Numbers of eigenvalues below −cut, within, and above."""
    values: Float[Tensor, " m"] = basis.values
    negative, positive = int((values < -cut).sum()), int((values > cut).sum())
    return negative, basis.vectors.shape[0] - negative - positive, positive
