"""The radius of a trust region: how far the quadratic model is believed."""

from __future__ import annotations

from thalweg._errors import OptimizerError

MAX_TRIES = 20
"""Each rejection divides the radius by 4 at least: by 10¹² after these."""


def next_radius(radius: float, ratio: float, length: float, max_radius: float) -> float:
    """Δ ← ¼‖s‖ where ρ < ¼, min(2Δ, Δ_max) where ρ > ¾ and the step reached the border, else Δ.

    Args:
        radius: Δ.
        ratio: ρ, actual over predicted decrease.
        length: ‖s‖ ≤ Δ.
        max_radius: Δ_max.

    Returns:
        The next Δ.

    Source: Nocedal and Wright 2006, algorithm 4.1. They divide Δ itself by 4; from ‖s‖ a step that
    ended inside is not tried a second time.

    Example:
        >>> next_radius(1.0, ratio=0.9, length=1.0, max_radius=10.0)
        2.0
    """
    if ratio < 0.25:
        return 0.25 * length
    if ratio > 0.75 and length > 0.99 * radius:
        return min(2 * radius, max_radius)
    return radius


def refuse_radius(radius: float, max_radius: float) -> None:
    """Refuses radii that make no sense."""
    if not 0 < radius <= max_radius:
        raise OptimizerError(
            f"radius={radius}, max_radius={max_radius}; give a radius above 0 and up to max_radius"
        )
