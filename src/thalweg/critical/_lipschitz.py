"""How fast the Hessian may change: bounded where a bound is known, estimated elsewhere."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg.critical._ground import Ground, Place
from thalweg.critical._linear_network import linear_network
from thalweg.critical._smooth_network import smooth_network

SAFETY = 2.0
"""An estimate is the largest change seen, times this."""


@dataclass(frozen=True)
class Lipschitz:
    """‖H(θ) − H(θ′)‖₂ ≤ K ‖θ − θ′‖ within a ball around a place.

    Args:
        value: K [loss/param³].
        is_proved: bounded, rather than estimated from changes seen.
    """

    value: float
    is_proved: bool


def bounded(place: Place, radius: float) -> Lipschitz | None:
    """K in the ball of that radius, proved; None where no bound is known for the network.

        K ≤ 12 c (a₀a₃ + a₁a₂),   aⱼ ≤ ‖X‖₂ Σ_{|S|=j} j^{−j/2} Π_{l∉S} (‖W_l‖₂ + ρ)

    for a network of linear layers and L = c ‖Y − W_d…W₁X‖², whose residual along a direction is a
    polynomial with coefficients of norm aⱼ (a₀ also grows with the ball); for dense networks with
    smooth activations see `SmoothNetwork.bound`. Weight decay changes no third derivative.

    Args:
        place: the middle of the ball.
        radius: ρ.
    """
    network = linear_network(place) or smooth_network(place)
    return None if network is None else Lipschitz(network.bound(radius), True)


def estimated(
    ground: Ground, place: Place, radius: float, way: Tensor, generator: torch.Generator
) -> Lipschitz:
    """The largest ‖(H(θ + hv) − H(θ))w‖/h seen, times 2, over Newton's direction and random ones.

    Args:
        ground: the surface.
        place: where.
        radius: ρ; h is no less.
        way: Newton's direction, tried first.
        generator: of two random directions, and of where the power iterations start.
    """
    n = ground.size
    h = max(1e-4 * max(float(place.vector.norm()), 1.0), radius)
    H = ground.hessian(place)
    largest = 0.0
    directions = [way] if float(way.norm()) else []
    directions += [_normal(n, generator, way) for _ in range(2)]
    for direction in directions:
        moved = ground.hessian(ground.at(place.vector + h * direction / direction.norm()))
        w = _normal(n, generator, way)
        for _ in range(6):
            w = w / w.norm()
            change = (moved @ w - H @ w) / h
            largest = max(largest, float(change.norm()))
            if not float(change.norm()):
                break
            w = change
    return Lipschitz(SAFETY * largest, False)


def _normal(n: int, generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(n, generator=generator, dtype=torch.float64).to(like.device)
