"""Hidden units that may change places, and the subspace in which some of them are equal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from thalweg._layout import Layout
from thalweg.critical._ground import Ground, Place, Subspace

_ALIKE = 1e-9
"""Losses that differ by no more than this share are the same up to rounding."""


@dataclass(frozen=True)
class HiddenLayer:
    """A layer whose units may change places while the network computes the same.

    Args:
        name: of the module that holds their incoming weights.
        num_units: h.
        axes: (parameter, dimension) along which the units lie: incoming weights, bias, outgoing.
    """

    name: str
    num_units: int
    axes: tuple[tuple[str, int], ...]

    def units(self, layout: Layout, vector: Float[Tensor, " n"]) -> Float[Tensor, "h p"]:
        """What belongs to each unit, a row each."""
        tensors = layout.unflatten(vector)
        rows = [
            tensors[name].movedim(dim, 0).reshape(self.num_units, -1) for name, dim in self.axes
        ]
        return torch.cat(rows, 1)


@dataclass(frozen=True, eq=False)
class EqualUnits(Subspace):
    """The parameters at which the units of each group are equal: a subspace of dimension d.

        θ = B z,   BᵀB = I

    It is what a group of permutations leaves fixed, so that ∇L lies within it wherever θ does: a
    point where L is stationary within it is a critical point of the whole network.

    Args:
        classes: for each of the n parameters, which of the d numbers it repeats (n,).
        sizes: how many parameters repeat each (d,).

    Source: Palais 1979, "The principle of symmetric criticality"; Fukumizu and Amari 2000, "Local
    minima and plateaus in hierarchical structures of multilayer perceptrons", for the critical
    points that smaller networks leave in larger ones.
    """

    classes: Int64[Tensor, " n"]
    sizes: Float[Tensor, " d"]

    @classmethod
    def of(
        cls, layout: Layout, layers: Sequence[HiddenLayer], groups: Sequence[Tensor]
    ) -> EqualUnits:
        """Where the units of each layer that have the same number, of one for each, are equal."""
        labels = {
            axis: numbers for layer, numbers in zip(layers, groups, strict=True)
            for axis in layer.axes
        }  # fmt: skip
        device = layout.device
        pieces: list[Tensor] = []
        behind = 0
        for name, shape in zip(layout.names, layout.shapes, strict=True):
            number = torch.zeros(shape, dtype=torch.int64, device=device)
            for dim, length in enumerate(shape):
                along = labels.get((name, dim), torch.arange(length)).to(device)
                here = [-1 if d == dim else 1 for d in range(len(shape))]
                number = number * length + along.view(here)
            _, own = number.reshape(-1).unique(return_inverse=True)
            pieces.append(own + behind)
            behind += int(own.max()) + 1 if own.numel() else 0
        classes = torch.cat(pieces)
        return cls(classes, torch.bincount(classes).double())

    @classmethod
    def at(cls, ground: Ground, place: Place) -> EqualUnits:
        """Those units equal that are so at this place, to the last bit."""
        layers = exchangeable(ground)
        groups = [
            layer.units(ground.layout, place.vector).unique(dim=0, return_inverse=True)[1]
            for layer in layers
        ]
        return cls.of(ground.layout, layers, groups)

    @property
    def dimension(self) -> int:
        """The number of coordinates, d."""
        return len(self.sizes)

    def inside(self, vector: Float[Tensor, "n *k"]) -> Float[Tensor, "d *k"]:
        """Bᵀv, for one vector or the columns of a block."""
        sums = vector.new_zeros(self.dimension, *vector.shape[1:])
        sums.index_add_(0, self.classes, vector)
        return sums / self._lengths(vector)

    def outside(self, coordinates: Float[Tensor, "d *k"]) -> Float[Tensor, "n *k"]:
        """B z: equal units are equal to the last bit."""
        spread: Tensor = (coordinates / self._lengths(coordinates))[self.classes]
        return spread

    def _lengths(self, like: Tensor) -> Tensor:
        return self.sizes.sqrt().view(-1, *[1] * (like.ndim - 1))


def exchangeable(ground: Ground) -> tuple[HiddenLayer, ...]:
    """The hidden layers whose units may change places, each tried at random parameters.

    Looked at are pairs of dense or of convolutional modules that follow one another by their order
    in the model and by their width, with the normalisations of that width between them.

    Cost: two gradients a pair.
    """
    model = ground.here().point.problem.model
    weighted = [
        (name, module) for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd)
    ]  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    found = []
    for (before, lower), (after, upper) in pairwise(weighted):
        num_units = lower.weight.shape[0]
        if type(lower) is not type(upper) or upper.weight.shape[1] != num_units or num_units < 2:
            continue
        axes = [(f"{before}.weight", 0), (f"{after}.weight", 1)]
        if lower.bias is not None:
            axes.append((f"{before}.bias", 0))
        axes += [(f"{name}.{own}", 0) for name in _between(model, before, after)
                 for own, p in model.get_submodule(name).named_parameters(recurse=False)
                 if p.shape == (num_units,)]  # fmt: skip
        layer = HiddenLayer(before, num_units, tuple(axes))
        if all(name in ground.layout.names for name, _ in axes) and _may_change_places(
            ground, layer, generator
        ):
            found.append(layer)
    return tuple(found)


def _between(model: nn.Module, before: str, after: str) -> list[str]:
    names = [name for name, _ in model.named_modules()]
    return names[names.index(before) + 1 : names.index(after)]


def _may_change_places(ground: Ground, layer: HiddenLayer, generator: torch.Generator) -> bool:
    """Whether the loss at random parameters stays when each unit takes the next one's place."""
    own = ground.here().vector
    size = float(own.square().mean().sqrt()) or 1.0
    drawn = torch.randn(len(own), generator=generator, dtype=torch.float64).to(own.device)
    theta = own + size * drawn
    tensors = dict(ground.layout.unflatten(theta))
    for name, dim in layer.axes:
        tensors[name] = tensors[name].roll(1, dim)
    one, other = ground.at(theta).value, ground.at(ground.layout.flatten(tensors)).value
    return abs(one - other) <= _ALIKE * max(abs(one), abs(other))
