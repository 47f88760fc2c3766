"""The critical line against SciPy's quadrature and closed forms, and where it is stable."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.integrate import dblquad, quad
from scipy.optimize import brentq
from scipy.special import expit

from thalweg import ThalwegError
from thalweg.signal import (
    critical_line,
    critical_weight_variance,
    edge,
    edge_at,
    isometric_edge,
    mean_field,
    stable_edge,
)
from thalweg.signal._moments import moments


def expectation(f, q, points=None):
    """E[f(√q z)] by SciPy, with break points where f has kinks."""
    root = math.sqrt(q)
    places = None if points is None else [p / root for p in points if abs(p) < 12 * root]
    return quad(
        lambda z: f(root * z) * math.exp(-z * z / 2) / math.sqrt(2 * math.pi),
        -12, 12, epsabs=1e-13, limit=500, points=places,
    )[0]  # fmt: skip


KINKED = {
    "relu": (F.relu, lambda x: max(x, 0.0), lambda x: float(x > 0), [0]),
    "hardtanh": (F.hardtanh, lambda x: min(max(x, -1), 1), lambda x: float(abs(x) < 1), [-1, 1]),
    "own": (
        lambda x: torch.where(x > 0.37, x, torch.zeros_like(x)),
        lambda x: x if x > 0.37 else 0.0,
        lambda x: float(x > 0.37),
        [0.37],
    ),
    "python": (
        lambda x: x if x > 0 else 0.1 * x,
        lambda x: x if x > 0 else 0.1 * x,
        lambda x: 1.0 if x > 0 else 0.1,
        [0],
    ),
}


@pytest.mark.parametrize("name", KINKED)
@pytest.mark.parametrize("q", [0.05, 1.3, 40.0])
def test_means_are_exact_at_kinks(name, q):
    phi, f, df, points = KINKED[name]
    found = moments(phi, q)
    assert found.square == pytest.approx(expectation(lambda x: f(x) ** 2, q, points), rel=1e-9)
    assert found.slope_square == pytest.approx(
        expectation(lambda x: df(x) ** 2, q, points), rel=1e-9
    )
    assert found.error < 1e-10


@pytest.mark.parametrize("phi", [torch.tanh, F.gelu, F.relu, F.hardtanh, torch.sin])
def test_derivatives_by_the_variance_are_differences(phi):
    """Central differences of exact means: error h² f''' ~ 1e-8, rounding 1e-12/h."""
    q, h = 1.3, 1e-4
    found, above, below = moments(phi, q), moments(phi, q + h), moments(phi, q - h)
    assert found.square_slope == pytest.approx((above.square - below.square) / (2 * h), rel=1e-6)
    difference = (above.slope_square - below.slope_square) / (2 * h)
    assert found.slope_square_slope == pytest.approx(difference, rel=1e-6, abs=1e-7)


def test_the_edges_of_tanh_and_the_sigmoid():
    """χ = 1 and q = σ_w² E[φ²] + σ_b², solved with SciPy alone."""

    def solved(f, df, bias, low, high):
        def slope(q):
            return expectation(lambda x: df(x) ** 2, q)

        def gap(q):
            return expectation(lambda x: f(x) ** 2, q) / slope(q) + bias - q

        return 1 / slope(brentq(gap, low, high))

    tanh = solved(np.tanh, lambda x: 1 - np.tanh(x) ** 2, 0.05, 0.1, 3)
    assert edge(torch.tanh, 0.05).weight_variance == pytest.approx(tanh, rel=1e-9)
    assert tanh == pytest.approx(1.7610, abs=5e-5)
    sigmoid = solved(expit, lambda x: expit(x) * (1 - expit(x)), 0.0, 10, 200)
    assert edge(torch.sigmoid).weight_variance == pytest.approx(sigmoid, rel=1e-9)
    assert sigmoid == pytest.approx(103.01, abs=5e-3)


def test_erf_in_closed_form():
    """E[erf'²] = (4/π)/√(1 + 4q) and E[erf²] = (2/π) asin(2q/(1 + 2q)) (Williams 1997)."""
    for q in (0.1, 1.0, 5.0):
        found = moments(torch.erf, q)
        assert found.slope_square == pytest.approx(4 / math.pi / math.sqrt(1 + 4 * q), rel=1e-11)
        square = 2 / math.pi * math.asin(2 * q / (1 + 2 * q))
        assert found.square == pytest.approx(square, rel=1e-11)
    assert edge(torch.erf).weight_variance == pytest.approx(math.pi / 4, rel=1e-9)
    at = edge_at(torch.erf, 1.0)
    assert at.weight_variance == pytest.approx(math.pi / 4 * math.sqrt(5), rel=1e-11)


def test_a_module_is_an_activation_too():
    assert edge(torch.nn.LeakyReLU(0.3)).weight_variance == pytest.approx(2 / 1.09, rel=1e-12)
    assert edge(torch.nn.PReLU()).weight_variance == pytest.approx(2 / 1.0625, rel=1e-12)


@pytest.mark.parametrize("phi", [F.gelu, F.silu])
def test_smooth_rectifiers_have_an_unstable_edge_and_a_stable_one(phi):
    at = edge(phi, 0.05)
    assert not at.is_stable
    with pytest.raises(ThalwegError, match=r"lengths leave q\* there .*stable_edge"):
        critical_weight_variance(phi, 0.05)
    found = stable_edge(phi)
    assert found.is_stable
    # From either side lengths come to q*, and stay at χ = 1; at the unstable one they do not.
    for place, comes_back in ((found, True), (at, False)):
        length = 1.1 * place.length
        for _ in range(150):
            length = place.weight_variance * moments(phi, length).square + place.bias_variance
        assert (abs(length / place.length - 1) < 0.05) == comes_back


def test_where_there_is_no_edge():
    for find in (edge, stable_edge):
        with pytest.raises(ThalwegError, match="normalise between the layers"):
            find(F.softplus)
    with pytest.raises(ThalwegError, match="not elementwise"):
        edge(lambda x: torch.softmax(x, -1))
    with pytest.raises(ThalwegError, match="written in torch"):
        edge(lambda x: np.tanh(x))
    with pytest.raises(ThalwegError, match="an isometry over 100 layers"):
        isometric_edge(torch.relu, 100)


def test_the_critical_line_is_the_edge_point_by_point():
    line = critical_line(torch.tanh, [0.01, 0.1])
    for at in line:
        theory = mean_field(torch.tanh, at.weight_variance, at.bias_variance)
        assert theory.length == pytest.approx(at.length, rel=1e-6)
        assert theory.chi == pytest.approx(1, abs=1e-7)
        assert theory.length_slope == pytest.approx(at.length_slope, rel=1e-5)
        assert theory.is_stable


def test_more_layers_ask_for_a_smaller_length():
    lengths = [isometric_edge(torch.tanh, depth).length for depth in (10, 100, 1000)]
    assert lengths[0] > lengths[1] > lengths[2]
    for depth, at in zip((10, 100, 1000), lengths, strict=True):
        # κ − 1 = 8 q² + O(q³) for tanh, so that q ≤ 1/√(8L), within a step of the grid.
        assert 0.6 < at * math.sqrt(8 * depth) < 1.6


def test_the_correlation_of_the_chaotic_phase():
    """c* and χ_c of tanh by a double integral over the pair of pre-activations."""
    weight, bias = 2.5, 0.05
    theory = mean_field(torch.tanh, weight, bias)
    q, c = theory.length, theory.correlation

    def pair(f):
        root = math.sqrt(q)
        return dblquad(
            lambda v, u: f(root * u) * f(root * (c * u + math.sqrt(1 - c * c) * v))
            * math.exp(-(u * u + v * v) / 2) / (2 * math.pi),
            -7, 7, -7, 7, epsabs=1e-7,
        )[0]  # fmt: skip

    assert 0 < c < 1
    assert (weight * pair(np.tanh) + bias) / q == pytest.approx(c, abs=1e-6)
    slope = weight * pair(lambda x: 1 - np.tanh(x) ** 2)
    assert theory.correlation_slope == pytest.approx(slope, abs=1e-6)
    assert theory.correlation_depth_scale == pytest.approx(-1 / math.log(slope), rel=1e-4)
    assert theory.correlation_error < 1e-9


def test_in_the_ordered_phase_everything_becomes_alike():
    theory = mean_field(torch.tanh, 1.0, 0.05)
    assert theory.correlation == 1
    assert theory.correlation_slope == theory.chi < 1
    assert theory.length_depth_scale == pytest.approx(-1 / math.log(theory.length_slope))
