"""Norms of the gradient, before clipping where that is known."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

import torch

from thalweg.monitor._moment import Moment, by_layer, dense, spread


class Gradients:
    """‖∇L‖ of all parameters and of each layer, and how much of it is not finite.

    `gradient_norm` and `gradient_norm/layer` [loss/param] are the norms before clipping where they
    are known, otherwise those that the optimizer was given; `clipping` is what clipping left,
    ‖clipped‖/‖unclipped‖; `non_finite` and `non_finite/layer` count entries that are NaN or
    infinite.

    Cost: reads every gradient once.
    """

    name, guess, is_paired, needs_before = "gradient norms", 0.0, False, False

    def read(self, moment: Moment) -> Mapping[str, float]:
        """The norms and the counts."""
        if not moment.gradients:
            return {}
        given = moment.gradient_norms
        known = given if moment.unclipped is None else {**given, **moment.unclipped}
        values = spread("gradient_norm", by_layer(known))
        if moment.unclipped is not None:
            values["clipping"] = moment.clipping
        # A finite norm has no entry that is not.
        suspects = {n: moment.gradients[n] for n, norm in given.items() if not isfinite(norm)}
        counts = {
            name: float((~torch.isfinite(dense(gradient))).sum())
            for name, gradient in suspects.items()
        }
        layers: dict[str, float] = {}
        for name, count in counts.items():
            key = f"non_finite/{name.rpartition('.')[0] or 'model'}"
            layers[key] = layers.get(key, 0.0) + count
        return {**values, "non_finite": sum(counts.values()), **layers}
