"""Signal through depth, measured on networks whose run is known."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from thalweg import Problem
from thalweg.passes import Pass
from thalweg.signal import Signal
from thalweg.signal._depth import trend


def deep(activation, depth, width, variance, seed=0):
    g = torch.Generator().manual_seed(seed)
    layers = []
    for k in range(depth):
        layer = nn.Linear(width, width).double()
        with torch.no_grad():
            layer.weight.copy_(torch.randn(width, width, generator=g) * math.sqrt(variance / width))
            layer.bias.zero_()
        layers += [layer] if k == depth - 1 else [layer, activation()]
    x = torch.randn(64, width, generator=g, dtype=torch.float64)
    y = torch.randn(64, width, generator=g, dtype=torch.float64)
    return Problem(nn.Sequential(*layers), linear, (x, y))


def linear(output, target):
    """Its gradient does not depend on the output, so that what comes back is independent of what
    went forward, as the theory assumes."""
    return (output * target).mean()


@pytest.mark.parametrize(
    ("activation", "variance"),
    [(nn.Tanh, 0.5), (nn.Tanh, 1.0), (nn.Tanh, 2.5), (nn.ReLU, 1.0), (nn.ReLU, 2.0),
     (nn.Sigmoid, 1.0), (nn.Softplus, 0.5), (nn.ELU, 1.0), (nn.LeakyReLU, 1.8)],
)  # fmt: skip
def test_the_factor_per_layer_is_as_predicted(activation, variance):
    """Width 256. The largest miss over eight seeds was 2.2 %.

    The scale of a layer multiplies a random factor each time: ln q has variance of at most
    (2 + 5)/256 a layer: 2 of a normal's square, E[φ⁴]/E[φ²]² − 1 = 5 of a rectifier. Three
    standard deviations of ln √q are allowed, and 3 % for the data's own length.
    """
    signal = Signal.of(Pass.of(deep(activation, 10, 256, variance)))
    assert signal.gradient.factor == pytest.approx(signal.predicted_factor, rel=0.05)
    assert signal.gradient.low <= signal.gradient.factor <= signal.gradient.high
    for depth, row in enumerate(signal.rows, 1):
        miss = abs(math.log(row.scale / row.predicted_scale))
        assert miss < 3 * math.sqrt(7 * depth / 256) / 2 + 0.03


def test_a_linear_trend_is_recovered_exactly():
    """An orthogonal linear chain scaled by c multiplies every gradient by c."""
    g = torch.Generator().manual_seed(0)
    layers = []
    for _ in range(6):
        layer = nn.Linear(8, 8, bias=False).double()
        q, _ = torch.linalg.qr(torch.randn(8, 8, generator=g, dtype=torch.float64))
        with torch.no_grad():
            layer.weight.copy_(0.25 * q)
        layers.append(layer)
    data = (torch.randn(9, 8, generator=g).double(), torch.zeros(9, 8).double())
    signal = Signal.of(Pass.of(Problem(nn.Sequential(*layers), nn.functional.mse_loss, data)))
    assert signal.gradient.factor == pytest.approx(0.25, rel=1e-10)
    assert signal.gradient.high - signal.gradient.low < 1e-8
    # Forward it is the same factor: towards the input the scale grows.
    assert signal.scale.factor == pytest.approx(4, rel=1e-10)
    assert signal.theory is None


def test_no_prediction_where_theory_does_not_hold():
    model = nn.Sequential(
        nn.Linear(4, 8), nn.LayerNorm(8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 1)
    )
    problem = Problem(model, nn.functional.mse_loss, (torch.randn(9, 4), torch.zeros(9, 1)))
    signal = Signal.of(Pass.of(problem))
    assert signal.predicted_factor is None
    assert [row.predicted_scale for row in signal.rows] == [None] * 3
    assert signal.gradient is not None


def test_two_layers_have_no_trend():
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
    problem = Problem(model, nn.functional.mse_loss, (torch.randn(9, 4), torch.zeros(9, 1)))
    assert Signal.of(Pass.of(problem)).gradient is None


def test_a_convolutional_chain_is_predicted():
    """fan_in counts channels and kernel; circular padding has no border that theory leaves out."""
    torch.manual_seed(0)
    layers = []
    for k in range(6):
        conv = nn.Conv2d(3 if k == 0 else 64, 64, 3, padding=1, padding_mode="circular")
        nn.init.normal_(conv.weight, std=math.sqrt(1.0 / conv.weight[0].numel()))
        nn.init.zeros_(conv.bias)
        layers += [conv, nn.Tanh()]
    model = nn.Sequential(*layers[:-1])
    data = (torch.randn(8, 3, 8, 8), torch.randn(8, 64, 8, 8))
    signal = Signal.of(Pass.of(Problem(model, nn.functional.mse_loss, data)))
    assert signal.predicted_factor is not None
    assert signal.gradient.factor == pytest.approx(signal.predicted_factor, rel=0.1)


@pytest.mark.parametrize("depth", [5, 20])
def test_the_interval_of_a_trend_holds_what_it_says(depth):
    """ln values walk at random about a line, as gradients do from layer to layer. Of 400 draws
    95 % hold, ± 4 standard deviations of a share, 4.4 %."""
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        steps = math.log(0.8) + 0.1 * rng.standard_normal(depth - 1)
        found = trend(np.exp(np.concatenate([[0.0], np.cumsum(steps)])).tolist())
        held += found.low <= 1 / 0.8 <= found.high
    assert held / 400 == pytest.approx(0.95, abs=0.044)


def test_units_are_channels_after_a_convolution_normalised_or_not():
    """One channel of two is shut by its bias on every sample."""
    norm = nn.BatchNorm2d(2)
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1), norm, nn.ReLU(), nn.Conv2d(2, 4, 3), nn.ReLU(),
        nn.Flatten(), nn.Linear(4 * 3 * 3, 2),
    ).eval()  # fmt: skip
    with torch.no_grad():
        norm.bias[1] = -100
        model[3].bias.copy_(torch.tensor([100.0, 100, -100, 100]))
    data = (torch.randn(6, 1, 5, 5), torch.zeros(6, 2))
    passed = Pass.of(Problem(model, nn.functional.mse_loss, data))
    assert [a.num_units for a in passed.activations] == [2, 4]
    assert [a.dead for a in passed.activations] == [1 / 2, 1 / 4]
    rows = Signal.of(passed).rows
    assert [(row.activation, row.dead) for row in rows] == [("relu", 0.5), ("relu", 0.25), ("", 0)]
