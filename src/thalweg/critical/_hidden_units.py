"""Hidden units that may change places, and the subspace in which some of them are equal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from thalweg._layout import Layout
from thalweg.critical._ground import Ground, Place, Subspace

_ALIKE = 1e-9
"""Losses that differ by no more than this share are the same up to rounding."""


@dataclass(frozen=True)
class Axis:
    """A dimension of a parameter along which units lie: of length gates · units · places.

    Args:
        name: of the parameter.
        dim: which of its dimensions.
        num_gates: how often all units follow one another: the gates of a recurrent layer.
        num_places: how many entries in a row belong to one unit: a channel that was flattened.
    """

    name: str
    dim: int
    num_gates: int = 1
    num_places: int = 1

    def length(self, num_units: int) -> int:
        """What the dimension must have."""
        return self.num_gates * num_units * self.num_places

    def by_unit(self, tensor: Tensor) -> Float[Tensor, "h p"]:
        """What of this parameter belongs to each unit, a row each."""
        lying = tensor.movedim(self.dim, 0)
        apart = lying.unflatten(0, (self.num_gates, -1, self.num_places))
        rows: Tensor = apart.movedim(1, 0).flatten(1)
        return rows

    def rolled(self, tensor: Tensor) -> Tensor:
        """The parameter with each unit in the place of the next."""
        apart = tensor.unflatten(self.dim, (self.num_gates, -1, self.num_places))
        rolled: Tensor = apart.roll(1, self.dim + 1).flatten(self.dim, self.dim + 2)
        return rolled

    def spread(self, numbers: Int64[Tensor, " h"]) -> Int64[Tensor, " l"]:
        """A number for each entry along it, by its gate, its place and its unit's number."""
        gates = torch.arange(self.num_gates).view(-1, 1, 1) * len(numbers)
        places = torch.arange(self.num_places)
        return ((gates + numbers.cpu().view(-1, 1)) * self.num_places + places).flatten()


@dataclass(frozen=True)
class HiddenLayer:
    """A layer whose units may change places while the network computes the same.

    Args:
        name: of the module that holds their incoming weights.
        num_units: h.
        axes: along which the units lie: incoming weights, bias, outgoing.
    """

    name: str
    num_units: int
    axes: tuple[Axis, ...]

    def units(self, layout: Layout, vector: Float[Tensor, " n"]) -> Float[Tensor, "h p"]:
        """What belongs to each unit, a row each."""
        tensors = layout.unflatten(vector)
        return torch.cat([axis.by_unit(tensors[axis.name]) for axis in self.axes], 1)


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
            (axis.name, axis.dim): axis.spread(numbers)
            for layer, numbers in zip(layers, groups, strict=True)
            for axis in layer.axes
        }
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

    Looked at are dense, convolutional and recurrent modules that follow one another by their order
    in the model and by their width, flattened or not, with the normalisations of that width between
    them, and the layers within a recurrent module.

    Cost: two gradients a layer.
    """
    model = ground.here().point.problem.model
    generator = torch.Generator().manual_seed(0)
    shapes = dict(zip(ground.layout.names, ground.layout.shapes, strict=True))
    found = []
    for layer in _candidates(model):
        fits = all(
            axis.name in shapes and shapes[axis.name][axis.dim] == axis.length(layer.num_units)
            for axis in layer.axes
        )
        if layer.num_units > 1 and fits and _may_change_places(ground, layer, generator):
            found.append(layer)
    return tuple(found)


def _candidates(model: nn.Module) -> Iterator[HiddenLayer]:
    """By name and width alone."""
    weighted = [
        (name, module) for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.modules.conv._ConvNd | nn.RNNBase)
    ]  # fmt: skip
    for number, (before, lower) in enumerate(weighted):
        if isinstance(lower, nn.RNNBase):
            for depth in range(lower.num_layers - 1):
                yield _recurrent(before, lower, depth, Axis(f"{before}.weight_ih_l{depth + 1}", 1))
        if number + 1 == len(weighted):
            return
        after, upper = weighted[number + 1]
        if isinstance(upper, nn.RNNBase):
            name, width = f"{after}.weight_ih_l0", upper.input_size
        else:
            name, width = f"{after}.weight", upper.weight.shape[1]
        if isinstance(lower, nn.RNNBase):
            yield _recurrent(before, lower, lower.num_layers - 1, Axis(name, 1))
            continue
        num_units = lower.weight.shape[0]
        if width % num_units:
            continue
        axes = [Axis(f"{before}.weight", 0), Axis(name, 1, num_places=width // num_units)]
        if lower.bias is not None:
            axes.append(Axis(f"{before}.bias", 0))
        axes += [Axis(f"{name}.{own}", 0) for name in _between(model, before, after)
                 for own, p in model.get_submodule(name).named_parameters(recurse=False)
                 if p.shape == (num_units,)]  # fmt: skip
        yield HiddenLayer(before, num_units, tuple(axes))


def _recurrent(name: str, module: nn.RNNBase, depth: int, outgoing: Axis) -> HiddenLayer:
    """The units of one layer of a recurrent module, whose gates stand below one another."""
    h = module.hidden_size
    num_gates = getattr(module, f"weight_hh_l{depth}").shape[0] // h
    own = [
        Axis(f"{name}.{kind}_l{depth}", 0, num_gates)
        for kind in ("weight_ih", "weight_hh", *(("bias_ih", "bias_hh") if module.bias else ()))
    ]
    return HiddenLayer(name, h, (*own, Axis(f"{name}.weight_hh_l{depth}", 1), outgoing))


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
    for axis in layer.axes:
        tensors[axis.name] = axis.rolled(tensors[axis.name])
    one, other = ground.at(theta).value, ground.at(ground.layout.flatten(tensors)).value
    return abs(one - other) <= _ALIKE * max(abs(one), abs(other))
