"""The participation ratio, and its doubt from two estimates that share their probes."""

import math

import pytest
import torch
from hypothesis import given, settings
from spectra import F64, Diagonal, generator, join, rotated_operator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, effective_rank

SEEDS = 150
DECAYING = 0.8 ** torch.arange(100, dtype=F64)
HARMONIC = 1 / torch.arange(1, 101, dtype=F64)
FLAT = torch.linspace(0.5, 1.5, 100, dtype=F64)


def ratio(eigenvalues):
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum())


@pytest.mark.parametrize("eigenvalues", [DECAYING, HARMONIC, FLAT])
def test_error_is_near_the_stderr_and_the_bias_below_it(eigenvalues):
    op, true = rotated_operator(eigenvalues), ratio(eigenvalues)
    found = [effective_rank(op, num_products=20, generator=generator(s)) for s in range(SEEDS)]
    errors = torch.tensor([f.value - true for f in found], dtype=F64)
    stderr = float(torch.tensor([f.stderr for f in found]).square().mean().sqrt())
    assert 0.6 < stderr / float(errors.square().mean().sqrt()) < 1.3
    assert abs(float(errors.mean())) < 0.5 * stderr


def test_errors_of_trace_and_square_are_taken_together():
    # On c·I plus little both vary, and their ratio hardly does: without the covariance the
    # stderr would be the sum of two large ones.
    eigenvalues = join([40.0], torch.linspace(0.9, 1.1, 99))
    op = rotated_operator(eigenvalues)
    few, many = (effective_rank(op, num_products=m, generator=generator()) for m in (8, 40))
    assert abs(many.value - ratio(eigenvalues)) < 4 * many.stderr
    assert many.stderr < few.stderr / 2


@pytest.mark.parametrize("k", [1, 4])
def test_k_equal_eigenvalues_are_k(k):
    found = effective_rank(
        rotated_operator(join(2.5 * torch.ones(k), torch.zeros(100 - k))), generator=generator()
    )
    assert found.value == pytest.approx(k, rel=1e-12)
    assert found.stderr < 1e-12
    # One copy is the space's, the others show in the probes.
    assert found.num_products == (2 + 2 if k == 1 else 30)


def test_the_identity_is_n():
    found = effective_rank(Diagonal(7.0 * torch.ones(100, dtype=F64)), generator=generator())
    assert found.value == pytest.approx(100.0, rel=1e-12)


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices())
def test_enough_products_are_exact(A):
    A = A @ A + torch.eye(len(A), dtype=F64) / 7
    n = len(A)
    found = effective_rank(MatrixOperator(A), num_products=max(2, n), generator=generator())
    assert found.value == pytest.approx(float(A.trace()) ** 2 / float((A * A).sum()), rel=1e-12)
    assert found.num_products == n


@pytest.mark.parametrize("size", [10, 100])
def test_negative_curvature_and_zero_are_refused(size):
    bent = Diagonal(join(torch.ones(size - 2), [-5.0, -4.0]))
    with pytest.raises(OperatorError, match=r"curvature -[1-5].*point\.ggn"):
        effective_rank(bent, generator=generator())
    with pytest.raises(OperatorError, match="is zero and has no direction"):
        effective_rank(Diagonal(torch.zeros(size, dtype=F64)), generator=generator())


def test_one_probe_claims_nothing():
    lone = effective_rank(Diagonal(FLAT), num_products=2, generator=generator())
    assert lone.stderr == math.inf
    assert 1 <= lone.value <= 100
    with pytest.raises(OperatorError, match=r"num_products=1.*num_products >= 2"):
        effective_rank(Diagonal(FLAT), num_products=1, generator=generator())


def test_products_are_counted():
    op = Diagonal(FLAT)
    assert effective_rank(op, num_products=21, generator=generator()).num_products == 21 == op.calls
