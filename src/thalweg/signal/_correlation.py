"""How alike two inputs become in depth: the correlation map of mean-field theory."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import brentq

from thalweg.signal._moments import gaussian_means
from thalweg.signal._scalar_function import ScalarFunction

_TERMS = 128
"""Hermite terms kept; what is left out is known, and goes into the error."""

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class Correlation:
    """The fixed point of the correlation map.

    Args:
        value: c*.
        slope: dc_{l+1}/dc_l there.
        error: of both, absolute.
    """

    value: float
    slope: float
    error: float


def correlation(
    phi: ScalarFunction, length: float, weight_variance: float, bias_variance: float, chi: float
) -> Correlation:
    """The correlation to which any two different inputs tend.

        c_{l+1} = (σ_w² Σ_k a_k² c_l^k + σ_b²) / q*,   a_k = E[φ(√q* z) h_k(z)]

    All coefficients are positive, so that the map is convex: where its slope at 1, which is χ, is
    at most 1, everything becomes alike; else c* is its one fixed point below 1.

    Args:
        phi: the activation.
        length: q*.
        weight_variance: σ_w².
        bias_variance: σ_b².
        chi: χ at q*.

    Source: Poole et al. 2016, eq. 5; Mehler's formula for the series (h_k: normalised Hermite
    polynomials).
    """
    if chi <= 1 + 1e-9 or length <= 0:
        return Correlation(1.0, chi, 0.0)
    squares, rest = _hermite_squares(phi, length)
    powers = np.arange(_TERMS)

    def fixed(left_out: float) -> tuple[float, float]:
        terms = np.append(squares, left_out)

        def gap(c: float) -> float:
            total = float((terms * c ** np.arange(_TERMS + 1)).sum())
            return (weight_variance * total + bias_variance) / length - c

        # Just below 1 the gap has the sign of 1 − χ if the series is whole, and is below it if not.
        at = brentq(gap, 0.0, 1 - 1e-9) if gap(1 - 1e-9) < 0 <= gap(0.0) else 1.0
        slopes = powers[1:] * squares[1:] * at ** (powers[1:] - 1)
        slope = slopes.sum() + _TERMS * left_out * at ** (_TERMS - 1)
        return at, float(weight_variance * slope / length)

    value, slope = fixed(rest)
    low, low_slope = fixed(0.0)
    return Correlation(value, slope, max(abs(value - low), abs(slope - low_slope)))


def _hermite_squares(phi: ScalarFunction, length: float) -> tuple[_Array, float]:
    """a_k² for k below the number of terms, and E[φ²] − Σ a_k²."""
    scale = sqrt(length)

    def integrand(z: _Array) -> _Array:
        values = phi(torch.from_numpy(scale * z))[0].numpy()
        columns = [values, values * z]
        # √k h_k = z h_{k−1} − √(k−1) h_{k−2}, times φ all along.
        for k in range(2, _TERMS):
            columns.append((z * columns[-1] - sqrt(k - 1) * columns[-2]) / sqrt(k))
        return np.stack([*columns, values**2], axis=1)

    means, _ = gaussian_means(integrand, scale)
    squares = means[:-1] ** 2
    return squares, max(float(means[-1] - squares.sum()), 0.0)
