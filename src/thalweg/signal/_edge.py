"""The edge of chaos: where gradients neither vanish nor explode, for any activation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import exp, inf

from scipy.optimize import brentq

from thalweg._errors import ThalwegError
from thalweg.signal._mean_field import SHORTEST
from thalweg.signal._moments import moments
from thalweg.signal._scalar_function import Activation, ScalarFunction, scalar_function

_GRID = [0.5 * k for k in range(-32, 17)]
"""Of ln q: from 1e-7 to 3,000."""

_SAME = 1e-9

_MARGIN = 1e-2
"""How far below 1 χ_q of a stable edge is, where it is sought."""

NO_EDGE = (
    "no weight variance keeps both the length and the gradients of this activation at σ_b² = {}; "
    "choose another activation, or normalise between the layers"
)


@dataclass(frozen=True)
class Edge:
    """A point of the critical line: χ = 1 at a length that keeps itself.

    Args:
        weight_variance: σ_w² = 1/E[φ'²], for weights of standard deviation √(σ_w²/fan_in).
        bias_variance: σ_b².
        length: q*; 0 where lengths shrink for ever, only ever slower (tanh without bias).
        keeps_every_length: whether every q is a fixed point (ReLU); `length` is then 1.
        length_slope: χ_q at q*: how a deviation from q* changes per layer.
        slope_kurtosis: κ = E[φ'⁴]/E[φ'²]² at q*.
        error: of the quadrature, relative.
    """

    weight_variance: float
    bias_variance: float
    length: float
    keeps_every_length: bool
    length_slope: float
    slope_kurtosis: float
    error: float

    @property
    def is_stable(self) -> bool:
        """Whether lengths near q* stay near it; if not, no deep network stays at this edge."""
        return self.length_slope <= 1 + _SAME

    @property
    def singular_variance(self) -> float:
        """Variance, per layer, of the squared singular values of the end-to-end Jacobian.

        κ − 1 with orthogonal weights: L layers have L(κ − 1). Gaussian weights add 1 a layer.

        Source: Pennington, Schoenholz, Ganguli 2017, "Resurrecting the sigmoid in deep learning
        through dynamical isometry", eq. 21.
        """
        return self.slope_kurtosis - 1


def edge(phi: Activation | ScalarFunction, bias_variance: float = 0.0) -> Edge:
    """The point of the critical line at a bias variance.

        σ_w² = 1/E[φ'(√q z)²],   q = E[φ(√q z)²]/E[φ'(√q z)²] + σ_b²

    Where several q solve this, the smallest stable one is taken; an unstable one only where there
    is no other, and `is_stable` is then False: lengths leave it, and χ with them. GELU and SiLU
    are so at small σ_b², and have a stable edge at larger ones: see `stable_edge`.

    Args:
        phi: the activation: any elementwise function of a tensor written in torch, or a module.
        bias_variance: σ_b² ≥ 0.

    Raises:
        ThalwegError: if no length keeps itself, or φ is not elementwise.

    Cost: about a hundred quadratures, 0.1 s.

    Source: Schoenholz et al. 2017, Fig. 1; Hayou, Doucet, Rousseau 2019, "On the impact of the
    activation function on deep neural networks training", for smooth activations. The stability of
    q* beside it is ours to report.

    Example:
        >>> import torch
        >>> round(edge(torch.tanh, 0.05).weight_variance, 4)
        1.761
        >>> edge(torch.nn.functional.gelu, 0.0).is_stable
        False
        >>> edge(torch.nn.functional.gelu, 0.3).is_stable
        True
    """
    function = scalar_function(phi)

    def gap(log_length: float) -> float:
        """σ_b² that keeps q, less the one given, as a share of q."""
        length = exp(log_length)
        found = moments(function, length)
        if not 0 < found.slope_square < inf:
            return inf
        return 1 - found.square / found.slope_square / length - bias_variance / length

    gaps = [gap(at) for at in _GRID]
    if max(map(abs, gaps)) < _SAME:
        return _edge_at(function, 1.0, bias_variance, keeps_every_length=True)
    roots = [
        _edge_at(function, exp(brentq(gap, left, right, xtol=1e-13)), bias_variance)
        for left, right, before, after in zip(
            _GRID[:-1], _GRID[1:], gaps[:-1], gaps[1:], strict=True
        )
        if before * after < 0 and max(abs(before), abs(after)) > _SAME
    ]
    if any(root.is_stable for root in roots):
        return next(root for root in roots if root.is_stable)
    if not bias_variance and abs(gaps[0]) < 1e-3:
        at_zero = _edge_at(function, SHORTEST, 0.0, length=0.0)
        # Around zero the slope rounds to 1: lengths a little above say whether they come back.
        outside = moments(function, exp(_GRID[8]))
        if outside.square_slope / outside.slope_square <= 1 + _SAME or not roots:
            slope = outside.square_slope / outside.slope_square
            return at_zero if slope <= 1 + _SAME else replace(at_zero, length_slope=slope)
    if roots:
        return roots[0]
    raise ThalwegError(NO_EDGE.format(f"{bias_variance:g}"))


def edge_at(phi: Activation | ScalarFunction, length: float) -> Edge | None:
    """The edge whose length is given, with the σ_b² that this takes; None if that is negative.

        σ_b² = q − E[φ²]/E[φ'²]

    Args:
        phi: the activation.
        length: q > 0.

    Source: χ = 1 and q = σ_w²E[φ²] + σ_b² of `edge`, solved for σ_b².

    Example:
        >>> import torch
        >>> round(edge_at(torch.erf, 1.0).bias_variance, 4)
        0.1841
    """
    function = scalar_function(phi)
    found = moments(function, length)
    if not 0 < found.slope_square < inf:
        return None
    needed = length - found.square / found.slope_square
    if needed < -_SAME * length:
        return None
    is_free = abs(needed) <= _SAME * length
    keeps_all = is_free and abs(found.square_slope / found.slope_square - 1) <= _SAME
    return _edge_at(function, length, 0.0 if is_free else needed, keeps_every_length=keeps_all)


def stable_edge(phi: Activation | ScalarFunction, bias_variance: float = 0.0) -> Edge:
    """The edge at the least bias variance, from the given one up, whose length is stable.

    For GELU that is beyond σ_b² = 0.16, for SiLU beyond 0.5: with biases that large a deep
    network keeps its length, and χ = 1 with it.

    Args:
        phi: the activation.
        bias_variance: σ_b² to begin at.

    Returns:
        The edge, with χ_q at most 0.99: at 1 nothing would bring a deviation back.

    Raises:
        ThalwegError: if there is none (softplus: its mean grows with every layer).

    Source: the critical line of `edge` as a curve in q: σ_b²(q) = q − E[φ²]/E[φ'²], stable where
    dE[φ²]/dq ≤ E[φ'²]. That GELU and SiLU come to be stable is our observation.

    Example:
        >>> import torch
        >>> found = stable_edge(torch.nn.functional.gelu)
        >>> round(found.bias_variance, 2), round(found.weight_variance, 2)
        (0.22, 1.97)
    """
    function = scalar_function(phi)
    try:
        here = edge(function, bias_variance)
        if here.is_stable:
            return here
    except ThalwegError:
        pass

    def needed(log_length: float) -> float:
        """σ_b² that keeps a length at the edge."""
        found = moments(function, exp(log_length))
        return exp(log_length) - found.square / found.slope_square

    def excess(log_length: float) -> float:
        found = moments(function, exp(log_length))
        return found.square_slope / found.slope_square - (1 - _MARGIN)

    for left, right in pairwise(_GRID):
        if not moments(function, exp(right)).slope_square > 0 or excess(right) > 0:
            continue
        at = brentq(excess, left, right, xtol=1e-12) if excess(left) > 0 else right
        if needed(at) >= bias_variance:
            return _edge_at(function, exp(at), needed(at))
    raise ThalwegError(NO_EDGE.format(f"{bias_variance:g} or more"))


def critical_line(
    phi: Activation | ScalarFunction, bias_variances: Sequence[float]
) -> tuple[Edge, ...]:
    """The critical line σ_w²(σ_b²) at several bias variances.

    Args:
        phi: the activation.
        bias_variances: σ_b² ≥ 0 each.

    Raises:
        ThalwegError: if at one of them there is no edge.

    Source: `edge` at each of them.

    Example:
        >>> import torch
        >>> [round(e.weight_variance, 3) for e in critical_line(torch.tanh, [0.0, 0.01, 0.1])]
        [1.0, 1.424, 1.986]
    """
    function = scalar_function(phi)
    return tuple(edge(function, bias_variance) for bias_variance in bias_variances)


def critical_weight_variance(phi: Activation | ScalarFunction, bias_variance: float = 0.0) -> float:
    """The σ_w² at which χ = 1 and stays so: gradients neither vanish nor explode.

    Args:
        phi: the activation, elementwise and differentiable by autograd.
        bias_variance: σ_b².

    Raises:
        ThalwegError: if no length keeps itself, or none is stable.

    Source: `edge`.

    Example:
        >>> import torch
        >>> round(critical_weight_variance(torch.tanh), 6)
        1.0
        >>> critical_weight_variance(torch.relu)
        2.0
    """
    found = edge(phi, bias_variance)
    if not found.is_stable:
        raise ThalwegError(
            NO_EDGE.format(f"{bias_variance:g}")
            + f" (χ = 1 at σ_w² = {found.weight_variance:.4g}, but lengths leave q* there by a "
            f"factor of {found.length_slope:.3g} a layer); thalweg.signal.stable_edge(phi) finds a "
            f"larger σ_b² where they do not"
        )
    return found.weight_variance


def isometric_edge(phi: Activation | ScalarFunction, depth: int) -> Edge:
    """The edge at which L layers with orthogonal weights are still nearly an isometry.

    The largest q, and so the most nonlinear network, whose end-to-end Jacobian has squared singular
    values of variance L(κ − 1) ≤ 1. Its σ_b² is what keeps that q: for tanh about q³.

    Args:
        phi: the activation.
        depth: L.

    Raises:
        ThalwegError: if there is none: φ is not differentiable at 0 (ReLU), or has no stable edge.

    Source: Pennington, Schoenholz, Ganguli 2017, eq. 21: σ²(JJᵀ) = L(κ − 1) at the edge. Xiao et
    al. 2018 train 10,000 layers at σ_b² = 2e-5, chosen by hand; choosing by depth is ours.

    Example:
        >>> import torch
        >>> found = isometric_edge(torch.tanh, 1000)
        >>> round(found.length, 3), round(found.weight_variance, 3)
        (0.011, 1.022)
    """
    function = scalar_function(phi)
    usable: Edge | None = None
    for log_length in [0.25 * k for k in range(-64, 8)]:
        found = moments(function, exp(log_length))
        if not 0 < found.slope_square < inf:
            continue
        needed = exp(log_length) - found.square / found.slope_square
        if abs(needed) < 1e-12 * exp(log_length):
            needed = 0.0
        here = _edge_at(function, exp(log_length), max(needed, 0.0))
        if needed >= 0 and here.is_stable and depth * here.singular_variance <= 1:
            usable = here
    if usable is None:
        raise ThalwegError(
            f"no edge of this activation is an isometry over {depth} layers; give fewer layers, "
            f"an activation that is smooth at 0 and bounded (tanh, erf), or residual connections"
        )
    return usable


def _edge_at(
    phi: ScalarFunction,
    at: float,
    bias_variance: float,
    *,
    length: float | None = None,
    keeps_every_length: bool = False,
) -> Edge:
    found = moments(phi, at)
    return Edge(
        weight_variance=1 / found.slope_square,
        bias_variance=bias_variance,
        length=at if length is None else length,
        keeps_every_length=keeps_every_length,
        length_slope=found.square_slope / found.slope_square,
        slope_kurtosis=found.slope_kurtosis,
        error=found.error,
    )
