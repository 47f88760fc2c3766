"""Gaussian means of an activation and its derivative, by adaptive quadrature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, pi, sqrt

import numpy as np
import torch
from numpy.polynomial.legendre import leggauss
from numpy.typing import NDArray

from thalweg.signal._scalar_function import Activation, ScalarFunction, scalar_function

_REACH = 12.0
"""Standard deviations integrated over; the density beyond is 1e-32."""

_KNEES = (0.0, 1.0, 4.0, 16.0)
"""Pre-activations ± where panels end to begin with: activations live at this scale, and most kinks
are at one of them. Others are found by bisection."""

_TOL = 1e-12

_NODES, _WEIGHTS = leggauss(16)

_MAX_ROUNDS = 60
"""Bisections of a panel: a panel at a jump is then beyond the last digit."""

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Moments:
    """Means over z ~ N(0, q) of what mean-field theory asks of φ.

    Args:
        square: E[φ²].
        slope_square: E[φ'²].
        slope_fourth: E[φ'⁴].
        square_slope: d E[φ²]/dq.
        slope_square_slope: d E[φ'²]/dq.
        fourth: E[φ⁴].
        error: of the quadrature, as a share of the mean modulus of each.
    """

    square: float
    slope_square: float
    slope_fourth: float
    square_slope: float
    slope_square_slope: float
    fourth: float
    error: float

    @property
    def slope_kurtosis(self) -> float:
        """κ = E[φ'⁴]/E[φ'²]²: 1 where the slope is the same everywhere, 2 for ReLU."""
        return self.slope_fourth / self.slope_square**2 if self.slope_square > 0 else inf


def moments(phi: Activation | ScalarFunction, length: float) -> Moments:
    """E[φ²], E[φ⁴], E[φ'²], E[φ'⁴] and the derivatives by q of E[φ²] and E[φ'²], z ~ N(0, q).

    These are E[φ²(z²/q − 1)]/2q and alike, without a second derivative: kinks do not matter.

    Args:
        phi: the activation.
        length: q > 0.

    Cost: a few calls of φ and φ' on some hundred numbers; some forty where there is a kink.

    Source: Gauss–Legendre of 16 points on panels that are halved until halving changes nothing,
    all at once, which takes a fifth of the time of SciPy's `cubature` (one panel at a time);
    derivative by a Gaussian's variance: Price 1958. Gauss–Hermite quadrature, the usual one, is
    off by percents at kinks.
    """
    function = scalar_function(phi)
    scale = sqrt(length)

    def integrand(z: Array) -> Array:
        values, slopes = (t.numpy() for t in function(torch.from_numpy(scale * z)))
        squares, slope_squares = values**2, slopes**2
        by_variance = z**2 - 1
        columns = (squares, slope_squares, slope_squares**2, squares**2)
        return np.stack([*columns, squares * by_variance, slope_squares * by_variance], axis=1)

    means, error = gaussian_means(integrand, scale)
    square, slope_square, slope_fourth, fourth, spread, slope_spread = map(float, means)
    return Moments(
        square=square,
        slope_square=slope_square,
        slope_fourth=slope_fourth,
        square_slope=spread / (2 * length),
        slope_square_slope=slope_spread / (2 * length),
        fourth=fourth,
        error=error,
    )


def gaussian_means(integrand: Callable[[Array], Array], scale: float) -> tuple[Array, float]:
    """E[f(z)] over z ~ N(0, 1) for a vector f, and the relative error.

    Args:
        integrand: from z of shape (points,) to f of shape (points, k).
        scale: √q, by which z is multiplied before it meets the activation.
    """
    ends = {sign * knee / scale for knee in _KNEES for sign in (1, -1)} | set(range(-12, 13, 2))
    edges = np.array(sorted(end for end in ends if abs(end) <= _REACH))
    left, right = edges[:-1], edges[1:]
    whole = _panels(integrand, left, right)
    total, error = np.zeros(whole.shape[1]), 0.0
    for _ in range(_MAX_ROUNDS):
        middle = (left + right) / 2
        left, right = np.concatenate([left, middle]), np.concatenate([middle, right])
        halves = _panels(integrand, left, right)
        parts = halves[: len(middle)] + halves[len(middle) :]
        # Each component in units of what it comes to over all panels, so that one tolerance serves.
        units = np.abs(total) + np.abs(parts).sum(0)
        if not np.isfinite(units).all():
            return np.full_like(total, inf), inf
        gaps = (np.abs(parts - whole) / np.where(units > 0, units, 1.0)).max(1)
        is_done = gaps <= _TOL
        total += parts[is_done].sum(0)
        error += float(gaps[is_done].sum())
        if is_done.all():
            return total, error
        rest = np.concatenate([~is_done, ~is_done])
        left, right, whole = left[rest], right[rest], halves[rest]
    return total + whole.sum(0), error + float(gaps[~is_done].sum())


def _panels(integrand: Callable[[Array], Array], left: Array, right: Array) -> Array:
    """∫ f(z) n(z) dz over each panel, of shape (panels, k)."""
    half = (right - left) / 2
    z = (left + half)[:, None] + half[:, None] * _NODES
    weights = half[:, None] * _WEIGHTS * np.exp(-z * z / 2) / sqrt(2 * pi)
    values = integrand(z.reshape(-1)).reshape(*z.shape, -1)
    result: Array = np.einsum("pn,pnk->pk", weights, values)
    return result
