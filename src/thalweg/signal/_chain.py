"""Mean-field theory along a plain chain of layers and activations, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import sqrt

import numpy as np

from thalweg._errors import ThalwegError
from thalweg.passes import ActivationPass, LayerPass, Pass
from thalweg.signal._mean_field import LONGEST, SHORTEST, MeanField, mean_field
from thalweg.signal._moments import Moments, moments
from thalweg.signal._scalar_function import ScalarFunction


@dataclass(frozen=True)
class Link:
    """What theory says of one layer of a chain.

    Args:
        length: q, the mean squared pre-activation.
        length_variance: of ln q, over draws of the weights, for one input.
        factor: χ from the next layer back to this one: ‖∂L/∂z_l‖² over ‖∂L/∂z_{l+1}‖²; 1 at the
            last layer.
        factor_variance: of its logarithm, over draws of the weights, for one input.
    """

    length: float
    length_variance: float
    factor: float
    factor_variance: float


Pair = tuple[LayerPass, ActivationPass | None]
"""A layer, and the activation that takes what it returned."""


def plain_chain(passed: Pass) -> list[Pair]:
    """Layer, activation, layer, … where each takes exactly what the one before returned.

    Empty where anything else happens: normalisation, residuals, pooling, recurrence; and where a
    function between layers is not elementwise.
    """
    pairs: list[Pair] = []
    for index, layer in enumerate(passed.layers):
        activations = [a for a in passed.activations if a.layer == index]
        is_last = index == len(passed.layers) - 1
        if not (layer.has_matrix and layer.is_chained) or layer.weight_variance is None:
            return []
        if not is_last and (len(activations) != 1 or not activations[0].is_chained):
            return []
        pairs.append((layer, activations[0] if activations else None))
    try:
        for _, activation in pairs[:-1]:
            assert activation is not None, "only the last layer may have none"
            ScalarFunction(activation.function)
    except ThalwegError:
        return []
    return pairs


def links(chain: Sequence[Pair]) -> list[Link]:
    """Lengths forward from the data's mean square, and the factors of the gradient back.

    Empty where a length leaves the range of numbers.

        q_{l+1} = σ_w² E[φ²] + σ_b²,   χ_l = σ_w² E[φ'²]   with z ~ N(0, q_l)

    Both are means over infinitely many units. With N units, ‖∂L/∂z_l‖² is σ_w²/N Σ_i φ'(z_i)² ξ_i²
    of as many normal ξ_i, and q_{l+1} is σ_w²/N Σ_i φ(z_i)² + σ_b², so that for one input

        Var[ln χ_l] = (3κ_l − 1)/N + (d ln χ_l/d ln q)² Var[ln q_l],   κ = E[φ'⁴]/E[φ'²]²
        Var[ln q_{l+1}] = (σ_w² E[φ²]/q_{l+1})² (E[φ⁴]/E[φ²]² − 1)/N
                          + (d ln q_{l+1}/d ln q_l)² Var[ln q_l]

    to first order in 1/N. Many inputs average part of it out; how much depends on how alike they
    are, and it is not taken off.

    Source: Schoenholz et al. 2017 for the means, with each layer's own variances. The variance is
    Hanin and Nica 2020, "Products of many large random matrices and gradients in deep neural
    networks", theorem 1, whose 5/N for ReLU is κ = 2 here; other activations and the drift of q by
    the same reckoning.
    """
    if not chain:
        return []
    found: list[Link] = []
    first = chain[0][0]
    length = (first.weight_variance or 0.0) * first.input_square + first.bias_variance
    variance = 0.0
    for here, following in pairwise(chain):
        activation, following_layer = here[1], following[0]
        assert activation is not None, "a plain chain has an activation between layers"
        at = max(length, SHORTEST)
        means = moments(ScalarFunction(activation.function), at)
        weights = following_layer.weight_variance or 0.0
        units = max(activation.num_units, 1)
        found.append(
            Link(
                length, variance, weights * means.slope_square, _spread(means, at, units, variance)
            )
        )
        after = weights * means.square + following_layer.bias_variance
        variance = _length_variance(means, at, after, weights, units, variance)
        length = after
        if not length < LONGEST:
            return []
    return [*found, Link(length, variance, 1.0, 0.0)]


def _spread(means: Moments, length: float, units: int, length_variance: float) -> float:
    if not means.slope_square > 0:
        return 0.0
    drift = length * means.slope_square_slope / means.slope_square
    return (3 * means.slope_kurtosis - 1) / units + drift**2 * length_variance


def _length_variance(
    means: Moments, length: float, after: float, weights: float, units: int, variance: float
) -> float:
    if not (after > 0 and means.square > 0):
        return 0.0
    sampled = (weights * means.square / after) ** 2 * (means.fourth / means.square**2 - 1) / units
    carried = (weights * means.square_slope * length / after) ** 2 * variance
    return sampled + carried


def fixed_point(chain: Sequence[Pair]) -> MeanField | None:
    """The fixed point, where all activations are one function and there is depth to speak of."""
    functions = {a.function_name for _, a in chain[:-1] if a is not None}
    if len(chain) < 3 or len(functions) != 1:
        return None
    activation = chain[0][1]
    assert activation is not None, "a plain chain has an activation between layers"
    weight_variance = float(np.mean([layer.weight_variance for layer, _ in chain[1:]]))
    bias_variance = float(np.mean([layer.bias_variance for layer, _ in chain[1:]]))
    return mean_field(activation.function, weight_variance, bias_variance)


def ratio_stderr(link: Link) -> float:
    """Standard error of √χ, the ratio of norms."""
    return sqrt(link.factor) * sqrt(link.factor_variance) / 2
