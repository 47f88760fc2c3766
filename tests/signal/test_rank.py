"""Rank by layer and network, its tolerance, and inputs that are sent through to prove it."""

import pytest
import torch
from sympy import Matrix, Rational
from torch import nn

from thalweg import Problem
from thalweg.signal import rank
from thalweg.signal._exact_rank import exact_rank


def linear(*matrices, bias=False):
    layers = []
    for M in matrices:
        layer = nn.Linear(M.shape[1], M.shape[0], bias=bias).to(M.dtype)
        with torch.no_grad():
            layer.weight.copy_(M)
        layers.append(layer)
    return nn.Sequential(*layers)


def read(model, n, dtype=torch.float32):
    x = torch.randn(4, n, generator=torch.Generator().manual_seed(0), dtype=dtype)
    with torch.no_grad():
        out = model(x)
    return rank(Problem(model, nn.functional.mse_loss, (x, torch.zeros_like(out))))


def random(m, n, seed=0, dtype=torch.float32):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_a_singular_matrix_and_its_null_vector():
    found = read(linear(torch.tensor([[1.0, 2.0], [2.0, 4.0]]), torch.eye(2)), 2)
    first, second = found.layers
    assert (first.rank, first.exact, first.is_invertible) == (1, 1, False)
    assert (second.rank, second.is_invertible) == (2, True)
    assert found.network.rank == 1
    step = (found.witness.second - found.witness.first)[0]
    assert float(step[0] + 2 * step[1]) == pytest.approx(0, abs=1e-6)
    assert found.witness.is_confirmed
    assert found.witness.control > 1


def test_an_invertible_network_has_no_witness():
    found = read(linear(torch.tensor([[1.0, 2.0], [3.0, 4.0]]), torch.eye(2), bias=True), 2)
    assert found.network.is_invertible
    assert found.network.condition == pytest.approx(14.933, rel=1e-4)
    assert found.witness is None


def test_a_bottleneck_loses_what_no_layer_behind_it_brings_back():
    found = read(linear(random(3, 8), random(8, 3, 1), random(8, 8, 2)), 8)
    assert [row.is_injective for row in found.layers] == [False, True, True]
    assert (found.network.rank, found.network.exact) == (3, 3)
    assert found.witness.is_confirmed
    assert found.witness.control > 1e3 * found.witness.difference


def test_two_layers_of_full_rank_may_lose_rank_together():
    A = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    B = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    found = read(linear(A, B), 2)
    assert [row.rank for row in found.layers] == [2, 2]
    assert (found.network.rank, found.network.exact) == (1, 1)
    assert found.witness.difference == 0


def test_the_first_layer_blinds_a_nonlinear_network_too():
    model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 6))
    found = read(model, 6)
    assert found.network is None
    assert found.witness.is_confirmed
    assert found.witness.control > 1e3 * found.witness.difference
    wide = read(nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 6)), 6)
    assert wide.witness is None


def test_the_matrix_of_a_convolution():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(2, 3, 2), nn.Flatten(), nn.Linear(12, 2))
    problem = Problem(model, nn.functional.mse_loss, (torch.randn(4, 2, 3, 3), torch.zeros(4, 2)))
    conv, dense = rank(problem).layers
    J = torch.autograd.functional.jacobian(lambda x: model[0](x[None])[0], torch.randn(2, 3, 3))
    exact = torch.linalg.svdvals(J.reshape(12, 18))
    assert conv.shape == (12, 18)
    assert conv.largest == pytest.approx(float(exact[0]), rel=1e-5)
    assert (conv.rank, dense.rank) == (12, 2)


def test_what_is_no_single_matrix_is_named():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.lstm, self.head = nn.LSTM(3, 5), nn.Linear(5, 2)

        def forward(self, x):
            return self.head(self.lstm(x)[0])

    found = read(Recurrent(), 3)
    assert found.not_read == ("lstm: LSTM is no single matrix.",)
    assert "head: 2×5, rank 2" in str(found)


def test_exact_rank_agrees_with_sympy():
    """On fractions that floating point holds exactly, singular or off by the last digit."""
    for seed, deficit in ((0, 0), (1, 1), (2, 3)):
        M = (4 * random(7, 7, seed)).round() / 8
        for k in range(deficit):
            M[-1 - k] = M[k] + M[k + 1]
        exact = Matrix(7, 7, [Rational(*float(v).as_integer_ratio()) for v in M.flatten()])
        assert exact_rank([M]) == exact.rank()
        assert exact_rank([M, M]) == (exact * exact).rank()


def test_exact_rank_sees_what_rounding_hides():
    M = torch.eye(5, dtype=torch.float64)
    M[4] = M[3]
    M[4, 4] = 2.0**-80
    found = read(linear(M), 5, torch.float64)
    assert (found.layers[0].rank, found.layers[0].exact) == (4, 5)
    assert exact_rank([torch.zeros(3, 600)]) is None
    assert exact_rank([random(40, 60, dtype=torch.float64)]) == 40
