"""The functions φ_k of exponential integrators, for real arguments of any size."""

from __future__ import annotations

from functools import cache
from math import factorial

import numpy as np
from numpy.typing import NDArray

_SERIES_UP_TO = 5.0


def phi(z: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """φ_0(z) … φ_most(z), with φ_0 = eᶻ and φ_{k+1}(z) = (φ_k(z) − 1/k!)/z.

    φ_k(z) = ∫₀¹ e^{(1−s)z} s^{k−1}/(k−1)! ds; φ_k(0) = 1/k!.

    Args:
        z: of any shape.
        most: the highest index.

    Returns:
        (most + 1, *z.shape).

    Example:
        >>> [round(float(p), 4) for p in phi(np.array(1.0), 2)]
        [2.7183, 1.7183, 0.7183]

    Source: Hochbruck and Ostermann 2010, "Exponential integrators", eqs 2.10–2.11. The recurrence
    is run upwards where |z| > 5, downwards from a series elsewhere, where upwards it would lose
    k digits to cancellation.
    """
    z = np.asarray(z, dtype=np.float64)
    found = np.empty((most + 1, *z.shape))
    is_small = np.abs(z) <= _SERIES_UP_TO
    small, large = np.where(is_small, z, 0.0), np.where(is_small, 1.0, z)
    downwards = np.ones(z.shape)  # Σ zʲ most!/(most + j)!, by Horner's rule
    for j in range(_num_terms(most), 0, -1):
        downwards = 1.0 + downwards * small / (most + j)
    downwards /= factorial(most)
    for k in range(most, -1, -1):
        found[k] = downwards
        if k:
            downwards = small * downwards + 1.0 / factorial(k - 1)
    upwards = np.exp(large)
    for k in range(most + 1):
        found[k] = np.where(is_small, found[k], upwards)
        upwards = (upwards - 1.0 / factorial(k)) / large
    found[0] = np.exp(z)
    return found


@cache
def _num_terms(most: int) -> int:
    """From here on the terms of the series are below 1e-18 of its first."""
    j, term = 0, 1.0
    while term > 1e-18:
        j += 1
        term *= _SERIES_UP_TO / (most + j)
    return j
