"""Mean-field theory against closed forms, SciPy's quadrature, and wide random networks."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import quad
from scipy.optimize import brentq

from thalweg import ThalwegError
from thalweg.signal import critical_weight_variance, mean_field, next_length, slope_factor


def expectation(f, q):
    """E[f(√q z)] by adaptive quadrature."""
    root = math.sqrt(q)
    return quad(
        lambda z: f(root * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
        -12, 12, epsabs=1e-12, limit=200,
    )[0]  # fmt: skip


@pytest.mark.parametrize("slope", [0.0, 0.1, 0.3, 1.0])
@pytest.mark.parametrize("length", [0.3, 1.0, 7.0])
def test_leaky_relu_in_closed_form(slope, length):
    """E[φ²] = q(1 + a²)/2 and E[φ'²] = (1 + a²)/2 for max(ax, x)."""

    def phi(x):
        return F.leaky_relu(x, slope)

    factor = (1 + slope**2) / 2
    assert next_length(phi, length, 1.5, 0.1) == pytest.approx(1.5 * factor * length + 0.1)
    assert slope_factor(phi, length, 1.5) == pytest.approx(1.5 * factor)
    assert critical_weight_variance(phi) == pytest.approx(1 / factor)


@pytest.mark.parametrize(
    ("phi", "f", "df"),
    [
        (torch.tanh, np.tanh, lambda x: 1 - np.tanh(x) ** 2),
        (
            torch.sigmoid,
            lambda x: 1 / (1 + np.exp(-x)),
            lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2,
        ),
        (F.softplus, lambda x: np.logaddexp(0, x), lambda x: 1 / (1 + np.exp(-x))),
        (
            lambda x: F.elu(x),
            lambda x: x if x > 0 else np.expm1(x),
            lambda x: 1.0 if x > 0 else np.exp(x),
        ),
    ],
)
@pytest.mark.parametrize("length", [0.05, 1.0, 20.0])
def test_smooth_activations_agree_with_quadrature(phi, f, df, length):
    square = expectation(lambda x: f(x) ** 2, length)
    assert next_length(phi, length, 1.0, 0.0) == pytest.approx(square, rel=1e-6)
    slope = expectation(lambda x: df(x) ** 2, length)
    assert slope_factor(phi, length, 1.0) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("bias_variance", [0.01, 0.05, 0.1])
def test_the_critical_line_of_tanh(bias_variance):
    """χ = 1 and q = σ_w² E[φ²] + σ_b², solved with SciPy alone."""

    def slope(q):
        return expectation(lambda x: (1 - np.tanh(x) ** 2) ** 2, q)

    def gap(q):
        return expectation(lambda x: np.tanh(x) ** 2, q) / slope(q) + bias_variance - q

    expected = 1 / slope(brentq(gap, 1e-3, 3))
    assert critical_weight_variance(torch.tanh, bias_variance) == pytest.approx(expected, rel=1e-8)
    at_edge = mean_field(torch.tanh, expected, bias_variance)
    assert at_edge.chi == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize(
    ("variance", "chi"), [(1, 0.759), (1.5, 0.939), (2, 1.048), (2.5, 1.134), (4, 1.342)]
)
def test_chi_of_tanh_at_bias_variance_005(variance, chi):
    """Values of the literature's phase diagram (Schoenholz et al. 2017, Fig. 1)."""
    assert mean_field(torch.tanh, variance, 0.05).chi == pytest.approx(chi, abs=1e-3)


def test_the_sigmoid_forgets_within_a_layer():
    theory = mean_field(torch.sigmoid, 1.0)
    assert theory.chi == pytest.approx(0.0557, abs=1e-4)
    assert theory.depth_scale == pytest.approx(-1 / math.log(0.0557), rel=1e-3)
    assert theory.gradient_factor == pytest.approx(math.sqrt(theory.chi))


def test_a_length_that_grows_for_ever_is_said_so():
    assert mean_field(torch.relu, 3.0).length == math.inf


def test_an_activation_with_no_edge_is_refused_by_a_sentence():
    with pytest.raises(ThalwegError, match="choose another activation"):
        critical_weight_variance(lambda x: torch.sigmoid(x) * 0 + 3 + 1e-3 * x)


@pytest.mark.parametrize("phi", [torch.tanh, torch.sigmoid, torch.relu, F.softplus])
def test_one_wide_random_layer(phi):
    """A layer of 4,000 units meets the prediction within its own sampling error of about 3 %."""
    g = torch.Generator().manual_seed(3)
    width, length = 4000, 1.3
    z = math.sqrt(length) * torch.randn(width, generator=g, dtype=torch.float64)
    W = torch.randn(width, width, generator=g, dtype=torch.float64) * math.sqrt(1.7 / width)
    measured = float((W @ phi(z)).square().mean())
    assert measured == pytest.approx(next_length(phi, length, 1.7, 0.0), rel=0.1)
