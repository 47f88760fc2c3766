"""Signal: how activation scale and gradient norm run with depth, measured beside predicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, inf, log, sqrt

import numpy as np
from scipy import stats

from thalweg.passes import ActivationPass, LayerPass, Pass
from thalweg.signal._mean_field import MeanField, mean_field, next_length, slope_factor


@dataclass(frozen=True)
class DepthRow:
    """One layer that mixes units, with the activation that follows it.

    Args:
        name: the layer's module name.
        kind: its class.
        num_units: outputs for one sample.
        scale: root mean square of its outputs z.
        predicted_scale: √q of mean-field theory from the data and the weights' variances, None
            where the network is no plain chain up to here.
        gradient_norm: ‖∂L/∂z‖ over all samples [loss/output].
        predicted_gradient_norm: the same by theory, from the last layer's measured one.
        weight_gradient_norm: ‖∂L/∂W‖ of the layer [loss/param].
        activation: the function that follows, "" where none does.
        saturated: share of (sample, unit) with |φ'| under 1 % of its maximum.
        dead: share of units that are so on every sample.
    """

    name: str
    kind: str
    num_units: int
    scale: float
    predicted_scale: float | None
    gradient_norm: float
    predicted_gradient_norm: float | None
    weight_gradient_norm: float
    activation: str
    saturated: float
    dead: float


@dataclass(frozen=True)
class Trend:
    """A quantity that runs like factor^depth: least squares on its logarithm.

    Args:
        factor: from one layer to the layer before it, towards the input.
        low: lower end of the 95 % confidence interval of the factor.
        high: upper end.
    """

    factor: float
    low: float
    high: float


@dataclass(frozen=True)
class Signal:
    """The run of scale and gradient through the depth of a network.

    Args:
        rows: layers that mix units, from input to output.
        gradient: trend of the gradient norms, None for fewer than three layers, or zeros.
        scale: trend of the activation scales, likewise.
        predicted_factor: geometric mean of √χ over the hidden layers; None where the network is no
            plain chain of layers and activations.
        theory: the mean-field fixed point at the layers' mean σ_w² and σ_b²; None likewise.

    Source: Schoenholz et al. 2017, with each layer's own measured variances and length in place of
    one σ_w² and the fixed point, so that it holds layer by layer. The theory takes what comes back
    as independent of what went forward; a squared error of a network whose outputs are large
    breaks that in the last layers.
    """

    rows: tuple[DepthRow, ...]
    gradient: Trend | None
    scale: Trend | None
    predicted_factor: float | None
    theory: MeanField | None

    @classmethod
    def of(cls, passed: Pass) -> Signal:
        """The signal in a recorded pass. Cost: no further gradient."""
        layers = [(i, layer) for i, layer in enumerate(passed.layers) if layer.has_matrix]
        after = {i: _activation_after(i, passed) for i, _ in layers}
        chain = _plain_chain(passed)
        lengths = _lengths(chain)
        factors = _factors(chain, lengths)
        gradients = _gradients(chain, factors)
        rows = tuple(
            DepthRow(
                name=layer.name,
                kind=layer.kind,
                num_units=layer.num_units,
                scale=sqrt(layer.output_square),
                predicted_scale=sqrt(lengths[at]) if lengths else None,
                gradient_norm=layer.gradient_norm,
                predicted_gradient_norm=gradients[at] if gradients else None,
                weight_gradient_norm=layer.weight_gradient_norm,
                activation=activation.function_name if activation else "",
                saturated=activation.saturated if activation else 0.0,
                dead=activation.dead if activation else 0.0,
            )
            for at, (i, layer) in enumerate(layers)
            for activation in [after[i]]
        )
        return cls(
            rows=rows,
            gradient=_trend([row.gradient_norm for row in rows]),
            scale=_trend([row.scale for row in rows]),
            predicted_factor=exp(np.mean([log(f) for f in factors]) / 2)
            if factors and min(factors) > 0
            else None,
            theory=_theory(chain),
        )


_Link = tuple[LayerPass, ActivationPass | None]


def _activation_after(index: int, passed: Pass) -> ActivationPass | None:
    return next((a for a in passed.activations if a.layer == index), None)


def _plain_chain(passed: Pass) -> list[_Link]:
    """Layer, activation, layer, … where each takes exactly what the one before returned.

    Empty where anything else happens: normalisation, residuals, pooling, recurrence.
    """
    links: list[_Link] = []
    for index, layer in enumerate(passed.layers):
        activations = [a for a in passed.activations if a.layer == index]
        is_last = index == len(passed.layers) - 1
        if not (layer.has_matrix and layer.is_chained) or layer.weight_variance is None:
            return []
        if not is_last and (len(activations) != 1 or not activations[0].is_chained):
            return []
        links.append((layer, activations[0] if activations else None))
    return links


def _lengths(chain: Sequence[_Link]) -> list[float]:
    """Q of every layer: from the data's mean square through each layer's own variances."""
    lengths: list[float] = []
    activation: ActivationPass | None = None
    for layer, following in chain:
        weight_variance = layer.weight_variance or 0.0
        if activation is None:
            length = weight_variance * layer.input_square + layer.bias_variance
        else:
            phi, bias = activation.function, layer.bias_variance
            length = next_length(phi, lengths[-1], weight_variance, bias)
        lengths.append(length)
        activation = following
    return lengths


def _factors(chain: Sequence[_Link], lengths: Sequence[float]) -> list[float]:
    """χ across each hidden layer: ‖∂L/∂z_l‖² = χ_l ‖∂L/∂z_{l+1}‖²."""
    factors = []
    for i, (_, activation) in enumerate(chain[:-1]):
        following = chain[i + 1][0]
        assert activation is not None, "a plain chain has an activation between layers"
        factors.append(
            slope_factor(activation.function, lengths[i], following.weight_variance or 0.0)
        )
    return factors


def _gradients(chain: Sequence[_Link], factors: Sequence[float]) -> list[float]:
    if not chain:
        return []
    norms = [chain[-1][0].gradient_norm]
    for factor in reversed(factors):
        norms.append(norms[-1] * sqrt(factor))
    return norms[::-1]


def _theory(chain: Sequence[_Link]) -> MeanField | None:
    """The fixed point, where all activations are one function and there is depth to speak of."""
    functions = {a.function_name for _, a in chain[:-1] if a is not None}
    if len(chain) < 3 or len(functions) != 1:
        return None
    activation = chain[0][1]
    assert activation is not None, "a plain chain has an activation between layers"
    weight_variance = float(np.mean([layer.weight_variance for layer, _ in chain[1:]]))
    bias_variance = float(np.mean([layer.bias_variance for layer, _ in chain[1:]]))
    return mean_field(activation.function, weight_variance, bias_variance)


def _trend(values: Sequence[float]) -> Trend | None:
    """Least squares of ln value on depth, with Student's t for the interval."""
    if len(values) < 3 or min(values) <= 0 or max(values) == inf:
        return None
    fit = stats.linregress(range(len(values)), np.log(values))
    width = stats.t.ppf(0.975, len(values) - 2) * fit.stderr
    return Trend(exp(-fit.slope), exp(-fit.slope - width), exp(-fit.slope + width))
