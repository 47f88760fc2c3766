"""The Frobenius norm: its square unbiased, its root honest about the error."""

import math

import pytest
import torch
from hypothesis import given, settings
from spectra import F64, Diagonal, generator, join, rotated_operator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, frobenius_norm

SEEDS = 150
DECAYING = 0.8 ** torch.arange(100, dtype=F64)
INDEFINITE = join([5.0, 8.0, -3.0, 20.0, 11.0], torch.linspace(-1.0, 1.0, 95))
FLAT = torch.linspace(0.5, 1.5, 100, dtype=F64)


def samples(eigenvalues, num_products, seeds=SEEDS):
    op = rotated_operator(eigenvalues)
    budget = {"num_products": num_products}
    found = [frobenius_norm(op, **budget, generator=generator(s)) for s in range(seeds)]
    return (
        torch.tensor([f.value for f in found], dtype=F64),
        torch.tensor([f.stderr for f in found], dtype=F64),
    )


def rms(errors):
    return float(errors.square().mean().sqrt())


@pytest.mark.parametrize("eigenvalues", [DECAYING, INDEFINITE, FLAT])
@pytest.mark.parametrize("num_products", [6, 20])
def test_square_is_unbiased_and_stderr_is_near_the_error(eigenvalues, num_products):
    true = float(eigenvalues.norm())
    values, stderr = samples(eigenvalues, num_products)
    squares = values**2
    assert abs(float(squares.mean()) - true**2) < 4 * float(squares.std()) / math.sqrt(SEEDS)
    assert 0.5 < rms(stderr) / rms(values - true) < 1.3
    assert rms(values - true) < 0.5 * true


def test_error_falls_with_the_budget_and_faster_than_that_of_lone_products():
    true = float(DECAYING.norm())
    few, many = (rms(samples(DECAYING, m, 30)[0] - true) for m in (8, 32))
    assert many < few / 8
    G = torch.randn(30, 100, 32, generator=generator(), dtype=F64)
    plain = (DECAYING[:, None] * G).square().sum(dim=1).mean(dim=1).sqrt()
    assert many < rms(plain - true) / 10


def test_a_multiple_of_the_identity_is_exact():
    found = frobenius_norm(Diagonal(-3.0 * torch.ones(100, dtype=F64)), generator=generator())
    assert found.value == pytest.approx(30.0, rel=1e-13)
    assert found.stderr < 1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_low_rank_is_captured_whole(dtype):
    eigenvalues = join(torch.linspace(-2.0, 7.0, 6), torch.zeros(94))
    found = frobenius_norm(rotated_operator(eigenvalues, dtype=dtype), generator=generator())
    assert abs(found.value - float(eigenvalues.norm())) <= 4 * found.stderr
    assert found.stderr < 100 * torch.finfo(dtype).eps * found.value
    assert found.num_products == 7 + 2


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices())
def test_enough_products_are_exact(A):
    n = len(A)
    found = frobenius_norm(MatrixOperator(A), num_products=max(2, n), generator=generator())
    assert found.value == pytest.approx(math.sqrt(float((A * A).sum())), rel=1e-13, abs=1e-13)
    assert found.num_products == n


def test_zero_operator_and_one_probe():
    found = frobenius_norm(Diagonal(torch.zeros(100, dtype=F64)), generator=generator())
    assert found.value == found.stderr == 0.0
    lone = frobenius_norm(Diagonal(FLAT), num_products=2, generator=generator())
    assert lone.stderr == math.inf
    assert math.isfinite(lone.value)
    with pytest.raises(OperatorError, match=r"num_products=1.*num_products >= 2"):
        frobenius_norm(Diagonal(FLAT), num_products=1, generator=generator())


def test_products_are_counted():
    op = Diagonal(FLAT)
    assert frobenius_norm(op, num_products=31, generator=generator()).num_products == 31 == op.calls
