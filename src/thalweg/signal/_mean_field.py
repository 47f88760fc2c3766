"""Mean-field theory of random networks: lengths, slopes and depth scales from the activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, log, sqrt

from scipy.optimize import brentq

from thalweg.signal._correlation import correlation
from thalweg.signal._moments import moments
from thalweg.signal._scalar_function import Activation, ScalarFunction, scalar_function

SHORTEST, LONGEST = 1e-16, 1e12
"""Lengths below count as zero, lengths above as growing for ever."""

_SAME = 1e-9
"""A length keeps itself if a layer changes it by less than this share."""


@dataclass(frozen=True)
class MeanField:
    """What a very wide random network with activation φ does to signals, in the limit of depth.

    Args:
        length: q*, the fixed point of the mean squared pre-activation; inf where it grows for ever,
            0 where it shrinks for ever.
        chi: χ = σ_w² E[φ'(√q* z)²], the factor of the squared gradient norm per layer.
        depth_scale: −1/ln χ layers, over which the squared gradient falls by e; inf at χ = 1,
            negative where gradients explode.
        length_slope: χ_q = σ_w² dE[φ²]/dq at q*, by which a deviation from q* changes per layer; a
            fixed point above 1 is left again.
        correlation: c*, to which the correlation of any two different inputs tends: 1 where
            χ ≤ 1, below in the chaotic phase.
        correlation_slope: χ_c, by which a deviation from c* changes per layer; χ where c* = 1.
        slope_kurtosis: κ = E[φ'⁴]/E[φ'²]² at q*.
        error: of the quadrature, relative; of c* and χ_c, `correlation_error`.
        correlation_error: absolute, from the Hermite terms that are left out.
    """

    length: float
    chi: float
    depth_scale: float
    length_slope: float = 0.0
    correlation: float = 1.0
    correlation_slope: float = 0.0
    slope_kurtosis: float = 1.0
    error: float = 0.0
    correlation_error: float = 0.0

    @property
    def gradient_factor(self) -> float:
        """√χ, the factor of the gradient's norm per layer towards the input."""
        return sqrt(self.chi)

    @property
    def length_depth_scale(self) -> float:
        """ξ_q = −1/ln χ_q: layers after which the length is e times nearer to q*."""
        return depth_scale(self.length_slope)

    @property
    def correlation_depth_scale(self) -> float:
        """ξ_c = −1/ln χ_c: layers after which two inputs are e times nearer to c*.

        What a network can tell of its input is gone after about six of them (Schoenholz et al.
        2017, Fig. 5).
        """
        return depth_scale(self.correlation_slope)

    @property
    def is_stable(self) -> bool:
        """Whether lengths near q* come nearer, or stay."""
        return abs(self.length_slope) <= 1 + _SAME


def next_length(
    phi: Activation | ScalarFunction, length: float, weight_variance: float, bias_variance: float
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
        >>> import torch
        >>> round(next_length(torch.relu, 1.0, 2.0, 0.0), 6)
        1.0
    """
    return weight_variance * moments(phi, max(length, SHORTEST)).square + bias_variance


def slope_factor(phi: Activation | ScalarFunction, length: float, weight_variance: float) -> float:
    """χ = σ_w² E[φ'(√q z)²]: the factor of the squared gradient norm across one layer.

    Args:
        phi: the activation, elementwise and differentiable by autograd.
        length: q, the mean squared pre-activation.
        weight_variance: σ_w² of the layer that follows the activation.

    Source: Schoenholz et al. 2017, "Deep information propagation", eq. 7 and §4.

    Example:
        >>> import torch
        >>> round(slope_factor(torch.relu, 1.0, 2.0), 6)
        1.0
    """
    return weight_variance * moments(phi, max(length, SHORTEST)).slope_square


def mean_field(
    phi: Activation | ScalarFunction, weight_variance: float, bias_variance: float = 0.0
) -> MeanField:
    """The fixed point of the length map that lengths come to from q = 1, and what happens there.

        q* = σ_w² E[φ(√q* z)²] + σ_b²,   χ = σ_w² E[φ'(√q* z)²]

    Args:
        phi: the activation: any elementwise function of a tensor written in torch, or a module.
        weight_variance: σ_w² = fan_in · Var(W).
        bias_variance: σ_b².

    Raises:
        ThalwegError: if φ is not elementwise or not written in torch.

    Cost: about fifty quadratures, 50 ms; none of a network.

    Source: Schoenholz et al. 2017, eqs. 3, 7 and 9, and §3 for ξ_q and ξ_c. The fixed point is
    bracketed and solved for, since near criticality iterating the map takes thousands of steps;
    χ_q is a derivative by the variance, without φ''.

    Example:
        >>> import torch
        >>> round(mean_field(torch.tanh, 1.5, 0.05).chi, 3)
        0.939
        >>> round(mean_field(lambda x: x * torch.sigmoid(1.7 * x), 1.5, 0.1).chi, 3)
        0.512
    """
    function = scalar_function(phi)
    length = fixed_length(lambda q: next_length(function, q, weight_variance, bias_variance))
    if length == inf:
        return MeanField(inf, inf, 0.0, inf)
    found = moments(function, max(length, SHORTEST))
    chi = weight_variance * found.slope_square
    pair = correlation(function, length, weight_variance, bias_variance, chi)
    return MeanField(
        length=length,
        chi=chi,
        depth_scale=depth_scale(chi),
        length_slope=weight_variance * found.square_slope,
        correlation=pair.value,
        correlation_slope=pair.slope,
        slope_kurtosis=found.slope_kurtosis,
        error=found.error,
        correlation_error=pair.error,
    )


def fixed_length(step: Callable[[float], float]) -> float:
    """The length that a growing map comes to from q = 1; 0 or inf where it never stops."""

    def growth(log_length: float) -> float:
        after = step(exp(log_length))
        return log(after) - log_length if 0 < after < inf else (inf if after else -inf)

    here, now = 0.0, growth(0.0)
    if abs(now) <= _SAME:
        return 1.0
    towards = 0.5 if now > 0 else -0.5
    while log(SHORTEST) < here < log(LONGEST):
        there = here + towards
        then = growth(there)
        if then == 0 or (then > 0) != (now > 0):
            return exp(brentq(growth, min(here, there), max(here, there), xtol=1e-14))
        if then in (inf, -inf):
            break
        here, now = there, then
    return inf if now > 0 else 0.0


def depth_scale(factor: float) -> float:
    """−1/ln of a factor per layer: inf at 1, negative above, 0 at 0."""
    if not 0 < factor < inf:
        return 0.0
    return inf if abs(log(factor)) < _SAME else -1 / log(factor)
