"""How far a picture reaches along each axis, where nobody says."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg.pictures._axis import Frame

NUM_HALVINGS = 20
"""Distances tried are ‖θ‖ and 20 halves of it."""

MARGIN = 0.2
"""Of the way that a path takes along an axis, on either side of it."""

LEAST = 0.05
"""No axis that a path goes along is shorter than this share of the longest."""

Totals = Callable[[Float[Tensor, "m k"]], Float64[Tensor, " m"]]


def limits_by_loss(
    frame: Frame, number: int, value: float, size: float, losses: Totals
) -> tuple[float, float]:
    """± the least of ‖θ‖, ‖θ‖/2, … at which the loss has changed by as much as it is worth.

    Where the loss is next to 0 here, that is half of the largest change within ‖θ‖.

    Args:
        frame: the axes.
        number: of the axis.
        value: L here.
        size: ‖θ‖, 1 where that is zero.
        losses: L at coordinates (m, k).
    """
    length = float(torch.linalg.vector_norm(frame.basis[:, number]))
    reach = size / length * 0.5 ** torch.arange(NUM_HALVINGS + 1, dtype=torch.float64)
    coordinates = torch.zeros(2 * len(reach), frame.size, dtype=torch.float64)
    coordinates[:, number] = torch.cat([reach, -reach])
    change = (losses(coordinates) - value).abs().reshape(2, -1)
    change = change.nan_to_num(nan=0.0, posinf=0.0).amax(dim=0)
    largest = float(change.max())
    wanted = abs(value) if abs(value) > 1e-3 * largest else 0.5 * largest
    enough = [
        r for r, moved in zip(reach.tolist(), change.tolist(), strict=True) if moved >= wanted
    ]
    chosen = min(enough) if enough and wanted > 0 else float(reach[0])
    return -chosen, chosen


def limits_by_paths(coordinates: Sequence[Float[Tensor, "s k"]]) -> list[tuple[float, float]]:
    """Around all places of all paths, and the centre.

    Args:
        coordinates: of the places of each path.
    """
    places = torch.cat([torch.zeros(1, coordinates[0].shape[1], dtype=torch.float64), *coordinates])
    low, high = places.amin(dim=0), places.amax(dim=0)
    span = high - low
    span = span.clamp(min=max(LEAST * float(span.max()), 1e-12))
    middle, half = (low + high) / 2, span * (0.5 + MARGIN)
    return [(float(m - h), float(m + h)) for m, h in zip(middle, half, strict=True)]
