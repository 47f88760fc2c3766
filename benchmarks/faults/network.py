"""The networks of the suite: dense, convolutional and recurrent ones, out of torch's modules."""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from benchmarks.faults.recipe import Recipe

SIDE = 8
"""Pixels along an edge of a digit."""


class Residual(nn.Module):
    """x + f(x)."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """The input and what the body makes of it."""
        out: Tensor = x + self.body(x)
        return out


class ZeroForNaN(nn.Module):
    """Masks what is missing."""

    def forward(self, x: Tensor) -> Tensor:
        """Zero, the mean of a standardised feature, where a feature is NaN."""
        return x.where(~x.isnan(), 0.0)


class LastState(nn.Module):
    """The recurrent layers' output at the last row of an image."""

    def __init__(self, recurrent: nn.RNNBase) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, x: Tensor) -> Tensor:
        """(b, 64) as eight steps of eight to (b, hidden)."""
        out, _ = self.recurrent(x[:, : SIDE * SIDE].reshape(len(x), SIDE, SIDE))
        last: Tensor = out[:, -1]
        return last


def network(recipe: Recipe, num_inputs: int, num_outputs: int, seed: int) -> nn.Module:
    """The network of a recipe, its weights drawn by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if recipe.family == "recurrent":
            model = _recurrent(recipe, num_outputs)
        else:
            make = _dense if recipe.family == "dense" else _convolutional
            model = make(recipe, num_inputs, num_outputs)
        _initialise(recipe, model)
    if recipe.head:
        model.append(nn.Softmax(1) if recipe.head == "Softmax" else getattr(nn, recipe.head)())
    return model


def _dense(recipe: Recipe, num_inputs: int, num_outputs: int) -> nn.Sequential:
    model, width = nn.Sequential(), num_inputs
    if recipe.fills_nan:
        model.append(ZeroForNaN())
    for index in range(recipe.depth):
        is_middle = recipe.code is not None and index == recipe.depth // 2
        after = recipe.code if is_middle and recipe.code else recipe.width
        layer = nn.Sequential(nn.Linear(width, after))
        if recipe.norm and not is_middle:
            layer.append(nn.BatchNorm1d(after) if recipe.norm == "batch" else nn.LayerNorm(after))
        layer.append(getattr(nn, recipe.activation)())
        if recipe.is_residual and width == after:
            model.append(Residual(layer))
        else:
            model.extend(layer)
        if recipe.dropout:
            model.append(nn.Dropout(recipe.dropout))
        width = after
    return model.append(nn.Linear(width, num_outputs))


def _convolutional(recipe: Recipe, num_inputs: int, num_outputs: int) -> nn.Sequential:
    model, channels = nn.Sequential(), num_inputs // (SIDE * SIDE)
    model.append(nn.Unflatten(1, (channels, SIDE, SIDE)))
    for index in range(recipe.depth):
        model.append(nn.Conv2d(channels, recipe.width, 3, padding=1))
        channels = recipe.width
        if recipe.norm:
            model.append(nn.BatchNorm2d(channels))
        model.append(getattr(nn, recipe.activation)())
        if index == 0:
            model.append(nn.MaxPool2d(2))
    if recipe.dropout:
        model.append(nn.Dropout(recipe.dropout))
    model.append(nn.Flatten())
    return model.append(nn.Linear(channels * (SIDE // 2) ** 2, num_outputs))


def _recurrent(recipe: Recipe, num_outputs: int) -> nn.Sequential:
    kind = getattr(nn, recipe.cell)
    recurrent = kind(SIDE, recipe.width, recipe.depth, batch_first=True)
    return nn.Sequential(LastState(recurrent), nn.Linear(recipe.width, num_outputs))


def _initialise(recipe: Recipe, model: nn.Module) -> None:
    """He's variance for one-sided activations, Glorot's for others; recurrent cells as torch's."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    square = 2.0 if recipe.activation in ("ReLU", "LeakyReLU", "GELU", "SiLU") else 1.0
    with torch.no_grad():
        for layer in layers:
            is_last = layer is layers[-1]
            gain = recipe.gain_last if is_last else recipe.gain
            std = gain * sqrt((1.0 if is_last else square) / layer.weight[0].numel())
            layer.weight.normal_(0.0, std)
            assert layer.bias is not None
            layer.bias.fill_(0.0 if is_last else recipe.bias)
        for module in model.modules():
            if isinstance(module, nn.RNNBase):
                for parameter in module.parameters():
                    parameter.mul_(recipe.gain)
        if recipe.constant is not None:
            # Norms keep their scale: it is the layers that somebody initialises.
            for module in model.modules():
                if isinstance(module, nn.Linear | nn.Conv2d | nn.RNNBase):
                    for parameter in module.parameters():
                        parameter.fill_(recipe.constant)
