"""Deflation: known critical points, with all their mirror images, are not found again."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.critical._ground import Ground, Place

NEAR = 1e-3
"""A walk has arrived at a known point within this share of its signature's length."""

MOST_KICKS = 6
"""So many times a walk is sent off again; after that it may end where another one did."""


@dataclass(frozen=True, eq=False)
class Deflation:
    """Recognises known critical points by what the network computes there, and sends walks off.

        ‖f_θ − f_i‖ ≤ 10⁻³ ‖f_i‖:   θ ← θ + 0.2 · 2^k · rms(θ) z,   z ~ N(0, I), at the k-th time

    f are the outputs on the data, which no symmetry of the parameters changes: a known point is
    known with its whole orbit.

    Args:
        signatures: of the known points.

    Example:
        >>> Deflation().is_idle
        True

    Source: the idea is that of Farrell, Birkisson and Funke 2015, "Deflation techniques for finding
    distinct solutions of nonlinear partial differential equations". They multiply the residual by
    Π(1 + 1/dᵢ²); with a trust region on its norm that makes walks end in minima of the product that
    are no critical points (17 of 30 on the linear autoencoder of 6 inputs), so we start anew.
    """

    signatures: tuple[Float[Tensor, " s"], ...] = ()

    @property
    def is_idle(self) -> bool:
        """Whether nothing is known yet."""
        return not self.signatures

    def knows(self, ground: Ground, place: Place) -> bool:
        """Whether the place is next to a known point or a mirror image of it."""
        if self.is_idle:
            return False
        signature = ground.signature(place)
        return any(
            float((signature - known).norm()) <= NEAR * max(float(known.norm()), _floor(known))
            for known in self.signatures
        )

    def kick(
        self, ground: Ground, place: Place, number: int, generator: torch.Generator
    ) -> Float[Tensor, " n"]:
        """A move away from there, farther each time."""
        drawn = torch.randn(ground.size, generator=generator, dtype=torch.float64)
        size = float(place.vector.square().mean().sqrt()) or 1.0
        move: Tensor = 0.2 * 2**number * size * drawn.to(place.vector.device)
        return move


def _floor(signature: Tensor) -> float:
    """A length for signatures that vanish, as that of the zero map."""
    return 1e-3 * sqrt(len(signature))
