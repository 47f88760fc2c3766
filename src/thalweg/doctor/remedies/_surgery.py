"""Putting another module into a model, at every place that holds the old one."""

from __future__ import annotations

from torch import nn


def put(model: nn.Module, old: nn.Module, new: nn.Module) -> None:
    """Puts `new` wherever the model holds `old`: one activation may serve in many places."""
    places = [
        (parent, name)
        for parent in model.modules()
        for name, child in parent._modules.items()
        if child is old
    ]
    for parent, name in places:
        parent.add_module(name, new)
