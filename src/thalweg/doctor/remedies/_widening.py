"""Layers so narrow that they lose what is needed, made wider."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy

NAME = "the narrow layer widened"

FEW = 8
"""Units before the last layer at least, where so many come in: that has as many as there are
answers, which says nothing of what is needed, and two rectifiers may both be off."""

Layer = nn.Linear | _ConvNd

Norm = _NormBase | nn.LayerNorm | nn.GroupNorm


def widened(readings: Readings) -> Remedy | NotApplicable:
    """Gives the narrowest hidden layer as many units as its narrower neighbour, dense or of maps.

    Before the last layer, as many as come in, up to eight at least. The layer that follows takes as
    many more, and a normalisation between them, too.
    """
    model = readings.problem.model
    layers = [(name, m) for name, m in model.named_modules() if _can_widen(m)]
    chained = [(one, other) for one, other in pairwise(layers) if _follows(one[1], other[1])]
    if not chained:
        return NotApplicable(NAME, "no two dense or convolutional layers follow one another")
    (before, layer), (after, following) = min(chained, key=lambda c: _width(c[0][1]))
    narrow = _width(layer)
    hidden = [_width(m) for _, m in layers[:-1]]
    wide = max(min(_fan_in(layer), _width(following)), sorted(hidden)[len(hidden) // 2])
    if after == layers[-1][0]:
        wide = max(wide, min(_fan_in(layer), FEW))
    if wide <= narrow:
        return NotApplicable(NAME, f"no layer is narrower than its neighbours, {narrow} units")
    norms = {n: m for n, m in _between(model, before, after) if isinstance(m, Norm)}
    wider = {name: _of_width(norm, narrow, wide) for name, norm in norms.items()}
    if None in wider.values():
        return NotApplicable(NAME, "a normalisation of another shape stands between the layers")
    # Maps that are flattened are so many numbers each.
    wider_in = wide * _fan_in(following) // narrow

    def apply(problem: Problem, generator: torch.Generator) -> Problem:
        own = problem.model
        for name, width, fan_in in (
            (before, wide, _fan_in(layer)),
            (after, _width(following), wider_in),
        ):
            old = own.get_submodule(name)
            assert isinstance(old, Layer), "it is a copy of the one that was looked at"
            new = _like(old, width, fan_in)
            _drawn_alike(new, old, generator)
            own.set_submodule(name, new.to(old.weight))
        for name, norm in norms.items():
            new_norm = _of_width(norm, narrow, wide)
            assert new_norm is not None, "asked before"
            new_norm.train(norm.training)
            own.set_submodule(name, new_norm.to(layer.weight))
        return problem

    code = [
        f'model.set_submodule("{before}", {_written(layer, wide, _fan_in(layer))})',
        *(f'model.set_submodule("{n}", nn.{_called(m, wide)})' for n, m in norms.items()),
        f'model.set_submodule("{after}", {_written(following, _width(following), wider_in)})',
    ]
    unit = "units" if isinstance(layer, nn.Linear) else "maps"
    name = f"{NAME}, {narrow} to {wide} {unit}"
    return Remedy(name, "\n".join(code), apply, is_direct=True)


def _can_widen(module: nn.Module) -> bool:
    if isinstance(module, _ConvNd):
        return module.groups == 1 and not isinstance(module, _ConvTransposeNd)
    return isinstance(module, nn.Linear)


def _follows(one: nn.Module, other: nn.Module) -> bool:
    """Whether one's outputs are as many as the other takes, or maps of which it takes all."""
    if isinstance(one, _ConvNd) and isinstance(other, nn.Linear):
        return other.in_features % one.out_channels == 0
    return type(one) is type(other) and _width(one) == _fan_in(other)


def _width(layer: nn.Module) -> int:
    width = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
    assert isinstance(width, int), "a dense or convolutional layer"
    return width


def _fan_in(layer: nn.Module) -> int:
    """Features or maps that a layer takes."""
    number = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    assert isinstance(number, int), "a dense or convolutional layer"
    return number


def _of_width(norm: Norm, narrow: int, wide: int) -> Norm | None:
    """One like it for more units; None where it is of another shape."""
    if isinstance(norm, nn.LayerNorm):
        bias = norm.bias is not None
        is_alike = norm.normalized_shape == (narrow,)
        return nn.LayerNorm(wide, norm.eps, norm.elementwise_affine, bias) if is_alike else None
    if isinstance(norm, nn.GroupNorm):
        groups = norm.num_groups
        is_alike = norm.num_channels == narrow and wide % groups == 0
        return nn.GroupNorm(groups, wide, norm.eps, norm.affine) if is_alike else None
    settings = (norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
    return type(norm)(wide, *settings) if norm.num_features == narrow else None


def _called(norm: Norm, wide: int) -> str:
    groups = f"{norm.num_groups}, " if isinstance(norm, nn.GroupNorm) else ""
    return f"{type(norm).__name__}({groups}{wide})"


def _like(old: Layer, width: int, fan_in: int) -> Layer:
    has_bias = old.bias is not None
    if isinstance(old, nn.Linear):
        return nn.Linear(fan_in, width, has_bias)
    # The base class, which types see, takes more.
    kind: Callable[..., Layer] = type(old)
    sizes = (old.kernel_size, old.stride, old.padding, old.dilation)
    return kind(fan_in, width, *sizes, bias=has_bias, padding_mode=old.padding_mode)


def _written(old: Layer, width: int, fan_in: int) -> str:
    """The source of one of another size."""
    if isinstance(old, nn.Linear):
        return f"nn.Linear({fan_in}, {width})"
    settings = [f"{old.kernel_size}"]
    for name in ("stride", "padding", "dilation"):
        value, usual = getattr(old, name), 0 if name == "padding" else 1
        if value != (usual,) * len(old.kernel_size):
            settings.append(f"{name}={value!r}")
    return f"nn.{type(old).__name__}({fan_in}, {width}, {', '.join(settings)})"


def _drawn_alike(new: Layer, old: Layer, generator: torch.Generator) -> None:
    """Weights as large as theirs were for their number of inputs, fan_in · Var(W) being kept."""
    size = float(old.weight.detach().double().square().mean() * old.weight[0].numel()) ** 0.5
    with torch.no_grad():
        drawn = torch.randn(new.weight.shape, generator=generator)
        new.weight.copy_(size / new.weight[0].numel() ** 0.5 * drawn)
        if new.bias is not None and old.bias is not None:
            new.bias.fill_(float(old.bias.detach().mean()))


def _between(model: nn.Module, before: str, after: str) -> list[tuple[str, nn.Module]]:
    modules = list(model.named_modules())
    names = [name for name, _ in modules]
    return modules[names.index(before) + 1 : names.index(after)]
