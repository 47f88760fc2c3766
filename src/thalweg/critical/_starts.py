"""Starts: where walks begin, along training trajectories or at random."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from math import isfinite

import torch
from jaxtyping import Float, Int64
from scipy.cluster.hierarchy import fcluster, linkage
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.critical._ground import Ground, Place
from thalweg.critical._hidden_units import EqualUnits, exchangeable

MOST_KEPT = 256
"""Places of a trajectory that are kept; of longer ones every so many."""


@dataclass(frozen=True, eq=False)
class Start:
    """Where a walk begins.

    Args:
        vector: θ (n,).
        value: L there [loss].
        source: in words, where it comes from.
    """

    vector: Float[Tensor, " n"]
    value: float
    source: str


class Starts(ABC):
    """A way to draw starts."""

    @abstractmethod
    def draw(
        self,
        ground: Ground,
        num_starts: int,
        generator: torch.Generator,
        progress: Callable[[float], None],
    ) -> tuple[Start, ...]:
        """So many starts; tells which share of the work is behind."""


@dataclass(frozen=True)
class Trajectories(Starts):
    """Starts along trainings, uniform in the loss between its first and its least value.

    Each training is Adam on all data. The first begins at the model's own parameters, each further
    one at parameters drawn anew, tensor by tensor from a normal distribution of the same mean
    square. Half of the starts are moved off the trajectory by noise.

    Args:
        num_trajectories: trainings; one for every ten starts when left out.
        max_steps: of each.
        lr: of Adam.
        noise: standard deviation of the noise, as a share of the root mean square of θ; for every
            second start. 0 for none.

    Raises:
        ThalwegError: if a number is out of range.

    Cost: a gradient for each step, and one for each start.

    Example:
        >>> Trajectories(max_steps=100).noise
        0.05

    Source: Frye et al. 2021, section 2, and Pennington and Bahri 2017, for starts along
    trajectories, uniformly in the loss, rather than in time; the noise is Dauphin et al. 2014's.
    """

    num_trajectories: int | None = None
    max_steps: int = 1000
    lr: float = 0.01
    noise: float = 0.05

    def __post_init__(self) -> None:
        count = 1 if self.num_trajectories is None else self.num_trajectories
        if count < 1 or self.max_steps < 1 or not self.lr > 0:
            raise ThalwegError(
                f"{self!r}: give at least one trajectory and step, and a positive lr"
            )
        if not self.noise >= 0:
            raise ThalwegError(f"{self!r}: noise is a share, 0 or more")

    def draw(
        self,
        ground: Ground,
        num_starts: int,
        generator: torch.Generator,
        progress: Callable[[float], None],
    ) -> tuple[Start, ...]:
        """So many starts, in turn from each trajectory."""
        count = self.num_trajectories or max(1, num_starts // 10)
        paths = []
        own = ground.here()
        for number in range(min(count, num_starts)):
            begin = own if number == 0 else ground.at(_redrawn(ground, own, generator))
            paths.append(self._path(ground, begin))
            progress((number + 1) / count)
        starts = []
        for number in range(num_starts):
            path = paths[number % len(paths)]
            low, high = min(place.value for place in path), path[0].value
            share = float(torch.rand((), generator=generator, dtype=torch.float64))
            vector = _first_at(path, low + share * (high - low))
            source = f"training {number % len(paths) + 1}"
            if self.noise and (number // len(paths)) % 2:
                size = self.noise * float(vector.square().mean().sqrt())
                drawn = torch.randn(len(vector), generator=generator, dtype=torch.float64)
                vector = vector + size * drawn.to(vector.device)
                source += ", with noise"
            starts.append(Start(vector, ground.at(vector).value, source))
        return tuple(starts)

    def _path(self, ground: Ground, begin: Place) -> list[Place]:
        """Adam from there, thinned out; ends before the first loss that is not finite."""
        place, kept, every = begin, [begin], 1
        m = torch.zeros_like(begin.vector)
        v = torch.zeros_like(begin.vector)
        for t in range(1, self.max_steps + 1):
            g = place.gradient
            m = 0.9 * m + 0.1 * g
            v = 0.999 * v + 0.001 * g.square()
            step = (m / (1 - 0.9**t)) / ((v / (1 - 0.999**t)).sqrt() + 1e-8)
            place = ground.at(place.vector - self.lr * step)
            if not isfinite(place.value) or place.value > 1e6 * (1 + abs(begin.value)):
                break
            if t % every == 0:
                kept.append(place)
            if len(kept) > MOST_KEPT:
                kept, every = kept[::2], 2 * every
        return kept


@dataclass(frozen=True)
class Initialisations(Starts):
    """Starts at parameters drawn anew, tensor by tensor, of the mean square that they have.

    Args:
        scale: times the root mean square of each tensor.

    Example:
        >>> Initialisations().scale
        1.0
    """

    scale: float = 1.0

    def draw(
        self,
        ground: Ground,
        num_starts: int,
        generator: torch.Generator,
        progress: Callable[[float], None],
    ) -> tuple[Start, ...]:
        """So many starts."""
        own = ground.here()
        starts = []
        for number in range(num_starts):
            vector = self.scale * _redrawn(ground, own, generator)
            starts.append(Start(vector, ground.at(vector).value, "drawn at random"))
            progress((number + 1) / num_starts)
        return tuple(starts)


@dataclass(frozen=True)
class MergedUnits(Starts):
    """Starts at which groups of hidden units are made equal, the most alike ones first.

    Of each hidden layer, between one and all units stay apart, each number as likely; the others
    are joined to those that they are most alike, and each takes the mean of its group.

    Args:
        starts: that are so changed.

    Raises:
        ThalwegError: when drawn, if the network has no hidden units that may change places.

    Cost: a gradient for each start, and two for each hidden layer.

    Example:
        >>> MergedUnits(Trajectories(max_steps=100)).starts.max_steps
        100

    Source: `EqualUnits`; groups by average linkage of the units' parameters,
    `scipy.cluster.hierarchy`.
    """

    starts: Starts = Trajectories()

    def draw(
        self,
        ground: Ground,
        num_starts: int,
        generator: torch.Generator,
        progress: Callable[[float], None],
    ) -> tuple[Start, ...]:
        """So many starts."""
        layers = exchangeable(ground)
        if not layers:
            raise ThalwegError(
                "MergedUnits: the network has no hidden units that may change places without a "
                "change of the loss; give Trajectories() instead"
            )
        merged = []
        for start in self.starts.draw(ground, num_starts, generator, progress):
            groups, said = [], []
            for layer in layers:
                h = layer.num_units
                m = 1 + int(torch.randint(h, (), generator=generator))
                groups.append(_most_alike(layer.units(ground.layout, start.vector), m))
                said.append(f"{int(groups[-1].max()) + 1} of {h}")
            space = EqualUnits.of(ground.layout, layers, groups)
            vector = space.outside(space.inside(start.vector))
            source = f"{start.source}; {' and '.join(said)} units apart"
            merged.append(Start(vector, ground.at(vector).value, source))
        return tuple(merged)


def _most_alike(units: Float[Tensor, "h p"], num_groups: int) -> Int64[Tensor, " h"]:
    """The number of each unit's group, from 0; at most so many groups."""
    if len(units) == num_groups:
        return torch.arange(num_groups)
    joined = linkage(units.cpu().numpy(), method="average")
    return torch.from_numpy(fcluster(joined, num_groups, criterion="maxclust")).long() - 1


def _redrawn(ground: Ground, own: Place, generator: torch.Generator) -> Tensor:
    pieces = []
    for tensor in ground.layout.unflatten(own.vector).values():
        size = float(tensor.square().mean().sqrt())
        drawn = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        pieces.append(size * drawn.reshape(-1).to(tensor.device))
    return torch.cat(pieces)


def _first_at(path: list[Place], value: float) -> Tensor:
    """Where the path first comes down to that loss, by interpolation between its places."""
    for before, after in pairwise(path):
        if after.value <= value <= before.value:
            fall = before.value - after.value
            share = (before.value - value) / fall if fall else 0.0
            return before.vector + share * (after.vector - before.vector)
    return path[-1].vector
