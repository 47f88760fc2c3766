"""Track: a path as a picture shows it, and how much the picture leaves out."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg.pictures._axis import Frame
from thalweg.pictures._evaluate import Evaluator
from thalweg.pictures._path import Path
from thalweg.pictures._principal import share_of_random_walk

PLACES = 16
"""So many places are widened to float64 at a time."""


@dataclass(frozen=True, eq=False)
class Track:
    """A path, projected onto the axes of a picture.

    Args:
        name: of the path.
        steps: before each place.
        coordinates: of the nearest place in the picture, for each (s, k).
        distances: from each place to that (s,) [param].
        losses: L at the places themselves (s,) [loss].
        shown_losses: L at the nearest places in the picture (s,) [loss].
        shares: of the path's variance along each axis by itself (k,) [share of 1].
        share: of its variance within the span of the axes [share of 1].
        length: of the path [param].
        ending: why the path ended before its time; "" where it did not.
    """

    name: str
    steps: tuple[int, ...]
    coordinates: Float[Tensor, "s k"]
    distances: Float[Tensor, " s"]
    losses: Float[Tensor, " s"]
    shown_losses: Float[Tensor, " s"]
    shares: tuple[float, ...]
    share: float
    length: float
    ending: str = ""

    @property
    def error(self) -> float:
        """The largest |shown − true| loss, as a share of the range of the true loss on the path.

        0: the picture tells the loss of every place. 1: it is wrong by as much as the loss moved.
        """
        both = torch.isfinite(self.losses) & torch.isfinite(self.shown_losses)
        if not bool(both.any()):
            return nan
        true, shown = self.losses[both], self.shown_losses[both]
        span = float(true.max() - true.min())
        wrong = float((shown - true).abs().max())
        return wrong / span if span > 0 else (nan if wrong else 0.0)

    @property
    def share_of_chance(self) -> float:
        """What the first k principal components of a random walk of that kind would hold."""
        return share_of_random_walk(self.coordinates.shape[1])


def projected(path: Path, frame: Frame, centre: Float[Tensor, " n"]) -> Float64[Tensor, "s k"]:
    """The coordinates of every place of a path.

    Args:
        path: the path.
        frame: the axes.
        centre: θ, where all coordinates are 0.
    """
    shift = (path.start - centre.to(path.start)).double().cpu()
    parts = path.offsets.split(PLACES)
    return torch.cat([frame.coordinates(part.double() + shift) for part in parts])


def track_of(path: Path, frame: Frame, evaluator: Evaluator) -> Track:
    """Projects a path and reads the loss on it, and on its shadow.

    Args:
        path: the path.
        frame: the axes.
        evaluator: reads losses.

    Cost: two evaluations for each place.
    """
    centre = evaluator.point.vector
    coordinates = projected(path, frame, centre)
    shift = (path.start - centre.to(path.start)).double().cpu()
    distances, losses, shown = [], [], []
    here = centre.double().cpu()
    for part, where in zip(path.offsets.split(PLACES), coordinates.split(PLACES), strict=True):
        true, flat = part.double() + shift, frame.places(where)
        distances.append(torch.linalg.vector_norm(true - flat, dim=1))
        losses.append(evaluator.totals((here + true).to(centre)))
        shown.append(evaluator.totals((here + flat).to(centre)))
    shares, share = variance_shares(path, frame)
    return Track(
        name=path.name,
        steps=path.steps,
        coordinates=coordinates,
        distances=torch.cat(distances),
        losses=torch.cat(losses),
        shown_losses=torch.cat(shown),
        shares=shares,
        share=share,
        length=path.length,
        ending=path.ending,
    )


def variance_shares(path: Path, frame: Frame) -> tuple[tuple[float, ...], float]:
    """Σ‖P(θ_i − θ̄)‖² / Σ‖θ_i − θ̄‖², along each axis and in the span of all; 0 for a single place.

    Args:
        path: the path.
        frame: the axes.
    """
    middle = path.offsets.double().mean(dim=0)
    unit = frame.basis / torch.linalg.vector_norm(frame.basis, dim=0)
    span = frame.orthonormal()
    total, inside, single = 0.0, 0.0, torch.zeros(frame.size, dtype=torch.float64)
    for part in path.offsets.split(PLACES):
        X = part.double() - middle
        total += float((X**2).sum())
        inside += float(((X @ span) ** 2).sum())
        single += ((X @ unit) ** 2).sum(dim=0)
    if total == 0:
        return (0.0,) * frame.size, 0.0
    return tuple(float(s) / total for s in single), inside / total
