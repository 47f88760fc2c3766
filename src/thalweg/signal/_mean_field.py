"""Mean-field theory of random networks: lengths, slopes and depth scales from the activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import torch
from scipy.optimize import brentq
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.passes._activation import slope

Activation = Callable[[Tensor], Tensor]

# An even number of points leaves zero out and is symmetric, so that the kink of ReLU costs nothing;
# 16,384 points make the error at any other jump of φ' less than 1e-3, and rounding elsewhere.
_Z = torch.linspace(-12, 12, 2**14, dtype=torch.float64)
_DENSITY = torch.exp(-_Z.square() / 2)
_DENSITY /= _DENSITY.sum()


@dataclass(frozen=True)
class MeanField:
    """What a very wide random network with activation φ does to signals, in the limit of depth.

    Args:
        length: q*, the fixed point of the mean squared pre-activation; inf where it grows for ever.
        chi: χ = σ_w² E[φ'(√q* z)²], the factor of the squared gradient norm per layer.
        depth_scale: −1/ln χ layers, over which the squared gradient falls by e; inf at χ = 1,
            negative where gradients explode.
    """

    length: float
    chi: float
    depth_scale: float

    @property
    def gradient_factor(self) -> float:
        """√χ, the factor of the gradient's norm per layer towards the input."""
        return sqrt(self.chi)


def next_length(
    phi: Activation, length: float, weight_variance: float, bias_variance: float
) -> float:
    """q_{l+1} = σ_w² E[φ(√q_l z)²] + σ_b², z standard normal.

    Args:
        phi: the activation, elementwise.
        length: q_l, the mean squared pre-activation.
        weight_variance: σ_w² = fan_in · Var(W).
        bias_variance: σ_b².

    Source: Poole et al. 2016, "Exponential expressivity in deep neural networks through transient
    chaos", eq. 3.

    Example:
        >>> round(next_length(torch.relu, 1.0, 2.0, 0.0), 6)
        1.0
    """
    values = phi(sqrt(length) * _Z).double()
    return weight_variance * float((_DENSITY * values.square()).sum()) + bias_variance


def slope_factor(phi: Activation, length: float, weight_variance: float) -> float:
    """χ = σ_w² E[φ'(√q z)²]: the factor of the squared gradient norm across one layer.

    Args:
        phi: the activation, elementwise and differentiable by autograd.
        length: q, the mean squared pre-activation.
        weight_variance: σ_w² of the layer that follows the activation.

    Source: Schoenholz et al. 2017, "Deep information propagation", eq. 7 and §4.

    Example:
        >>> round(slope_factor(torch.relu, 1.0, 2.0), 6)
        1.0
    """
    slopes = slope(phi, sqrt(length) * _Z).double()
    return weight_variance * float((_DENSITY * slopes.square()).sum())


def mean_field(
    phi: Activation, weight_variance: float, bias_variance: float = 0.0, max_steps: int = 10_000
) -> MeanField:
    """The fixed point of the length map, and how gradients run at it.

    Args:
        phi: the activation, elementwise and differentiable by autograd.
        weight_variance: σ_w² = fan_in · Var(W).
        bias_variance: σ_b².
        max_steps: of the length map, from q = 1.

    Source: Schoenholz et al. 2017, eqs. 3, 7 and 9.

    Example:
        >>> round(mean_field(torch.tanh, 1.5, 0.05).chi, 3)
        0.939
    """
    length = 1.0
    for _ in range(max_steps):
        before, length = length, next_length(phi, length, weight_variance, bias_variance)
        if abs(length - before) <= 1e-13 * length or not 1e-12 < length < 1e12:
            break
    if length >= 1e12:
        return MeanField(inf, inf, 0.0)
    chi = slope_factor(phi, length, weight_variance)
    return MeanField(length, chi, _depth_scale(chi))


def critical_weight_variance(phi: Activation, bias_variance: float = 0.0) -> float:
    """The σ_w² at which χ = 1: gradients neither vanish nor explode.

    On the critical line σ_w² = 1/E[φ'(√q z)²], and the length keeps itself where
    q = E[φ(√q z)²] / E[φ'(√q z)²] + σ_b²; the smallest such q is found first. Where every q keeps
    itself (ReLU) it is taken as 1, and where none does and all shrink (tanh without bias) it tends
    to 0.

    Args:
        phi: the activation, elementwise and differentiable by autograd.
        bias_variance: σ_b².

    Raises:
        ThalwegError: if no length keeps itself.

    Source: Schoenholz et al. 2017, Fig. 1; He et al. 2015 for ReLU.

    Example:
        >>> round(critical_weight_variance(torch.tanh), 6)
        1.0
        >>> critical_weight_variance(torch.relu)
        2.0
    """

    def growth(log_length: float) -> float:
        """Ln of the length after a layer over the length before it."""
        length = exp(log_length)
        variance = 1 / max(slope_factor(phi, length, 1.0), 1e-300)
        return log(next_length(phi, length, variance, bias_variance) / length)

    grid = [0.5 * k for k in range(-32, 17)]
    growths = [growth(log_length) for log_length in grid]
    if max(map(abs, growths)) < 1e-3:
        return 1 / slope_factor(phi, 1.0, 1.0)
    for left, right, before, after in zip(grid, grid[1:], growths, growths[1:], strict=False):
        if before > 0 >= after or before < 0 <= after:
            length = exp(brentq(growth, left, right, xtol=1e-13))
            return 1 / slope_factor(phi, length, 1.0)
    if abs(growths[0]) < 1e-3:
        variance = 1 / slope_factor(phi, 1e-16, 1.0)
        # GELU and its kin have χ = 1 there too, but every other length grows without end.
        if next_length(phi, 1.0, variance, bias_variance) <= 1.0:
            return variance
    raise ThalwegError(
        "no weight variance keeps both the length and the gradients of this activation; choose "
        "another activation, or normalise between the layers"
    )


def _depth_scale(chi: float) -> float:
    if abs(log(chi)) < 1e-9 if chi > 0 else False:
        return inf
    return -1 / log(chi) if chi > 0 else 0.0
