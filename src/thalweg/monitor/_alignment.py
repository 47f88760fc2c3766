"""How much of the gradient points along the sharpest direction, and where that direction lies."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from thalweg.monitor._moment import Moment, layer_of
from thalweg.monitor._sharpness import Sharpness


class Alignment:
    """cos² of the angle between the step's gradient and the sharpest direction, and its layers.

    `alignment` is (g·v)²/‖g‖² for the unit eigenvector v that `Sharpness` follows, as well as it
    knows it; `sharpest_share/layer` is the share of v's square in each layer: where the sharpness
    sits. With Adam both are in the coordinates of its preconditioner. Read where the sharpness is.

    Args:
        sharpness: the instrument that follows v.

    Cost: no product.

    Source: Gur-Ari, Roberts and Dyer 2018, "Gradient descent happens in a tiny subspace".
    """

    name, guess, is_paired, needs_before = "alignment", 0.0, False, False

    def __init__(self, sharpness: Sharpness) -> None:
        self._sharpness = sharpness

    def read(self, moment: Moment) -> Mapping[str, float]:
        """The share along v, and the shares of v by layer."""
        layout, vector = self._sharpness.layout, self._sharpness.vector
        if self._sharpness.step != moment.step or layout is None or vector is None:
            return {}
        v = vector.double() / torch.linalg.vector_norm(vector.double())
        values: dict[str, float] = {}
        if all(name in moment.gradients for name in layout.names):
            parts = {n: moment.gradients[n].to_dense() for n in layout.names}
            flat = [parts[n].detach().reshape(-1).double().to(v.device) for n in layout.names]
            g = torch.cat(flat)
            g = g if self._sharpness.scale is None else g * self._sharpness.scale
            square = float(g @ g)
            if 0 < square < float("inf"):
                values["alignment"] = float(g @ v) ** 2 / square
        for name, part in layout.unflatten(v).items():
            key = f"sharpest_share/{layer_of(name)}"
            values[key] = values.get(key, 0.0) + float(part.square().sum())
        return values
