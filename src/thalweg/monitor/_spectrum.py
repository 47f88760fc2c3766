"""The whole spectrum in three numbers: trace, share of negative eigenvalues, and their doubt."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import torch

from thalweg.linalg import Density, density
from thalweg.monitor._moment import Moment

NUM_PROBES, NUM_STEPS = 2, 8

NULL = 1e-3
"""Eigenvalues under this share of the largest count as zero."""


class Spectrum:
    """Trace, index and density of the Hessian, by Lanczos quadrature.

    `trace` [loss/param²] with its standard error `trace_error`; `negative_share` of eigenvalues
    below −τ for a τ of a thousandth of the largest, with the ends of its interval
    `negative_share_low` and `negative_share_high`. `last` keeps the density of the last reading.

    Args:
        generator: draws the probes.

    Cost: 16 products, 33 gradients.

    Source: see `thalweg.linalg.density`.
    """

    name, guess, is_paired, needs_before = "spectrum", 33.0, False, False

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self.last: Density | None = None

    def read(self, moment: Moment) -> Mapping[str, float]:
        """Trace and index now."""
        hessian = moment.point.hessian()
        found = density(
            hessian, num_probes=NUM_PROBES, num_steps=NUM_STEPS, generator=self._generator
        )
        moment.spend(found.num_products * hessian.gradients_per_product)
        self.last = found
        mean = found.moment(1)
        tau = NULL * float(found.nodes.abs().max())
        negative = found.mass(-inf, -tau)
        return {
            "trace": mean.value * found.size,
            "trace_error": mean.stderr * found.size,
            "negative_share": negative.estimate,
            "negative_share_low": negative.low,
            "negative_share_high": negative.high,
        }
