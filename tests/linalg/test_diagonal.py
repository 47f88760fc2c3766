"""The diagonal: unbiased entry by entry, honest about its error, exact where it should be."""

import math

import pytest
import torch
from hypothesis import given, settings
from spectra import F64, Diagonal, generator, join, rotated, rotated_operator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, diagonal

SEEDS = 150
DECAYING = 0.8 ** torch.arange(100, dtype=F64)
INDEFINITE = join([5.0, 8.0, -3.0, 20.0, 11.0], torch.linspace(-1.0, 1.0, 95))
FLAT = torch.linspace(0.5, 1.5, 100, dtype=F64)


def samples(A, num_products, seeds=SEEDS):
    op = MatrixOperator(A)
    found = [diagonal(op, num_products=num_products, generator=generator(s)) for s in range(seeds)]
    return torch.stack([f.values for f in found]), torch.stack([f.stderr for f in found])


def rms(errors):
    return float(errors.square().mean().sqrt())


@pytest.mark.parametrize("eigenvalues", [DECAYING, INDEFINITE, FLAT])
@pytest.mark.parametrize("num_products", [6, 20])
def test_every_entry_is_unbiased_and_its_stderr_is_near_the_error(eigenvalues, num_products):
    A = rotated(eigenvalues)
    values, stderr = samples(A, num_products)
    z = (values.mean(dim=0) - A.diagonal()) * math.sqrt(SEEDS) / values.std(dim=0)
    # The largest of 100 standard normals exceeds 4.5 once in 1500 draws of a hundred.
    assert float(z.abs().max()) < 4.5
    assert float(z.square().mean()) == pytest.approx(1.0, abs=0.5)
    assert 0.65 < rms(stderr) / rms(values - A.diagonal()) < 1.2


def test_error_falls_with_the_budget_and_faster_than_that_of_signs_alone():
    A = rotated(DECAYING)
    few, _ = samples(A, 8, 30)
    many, _ = samples(A, 32, 30)
    d = A.diagonal()
    assert rms(many - d) < rms(few - d) / 8
    signs = torch.sign(torch.randn(30, 100, 32, generator=generator(), dtype=F64))
    plain = (signs * (A @ signs)).mean(dim=2)
    assert rms(many - d) < rms(plain - d) / 5


def test_a_flat_spectrum_gains_from_the_budget_too():
    A = rotated(FLAT)
    few, _ = samples(A, 6, 40)
    many, _ = samples(A, 54, 40)
    # 1/√m, with 9 times the probes.
    assert rms(few - A.diagonal()) / rms(many - A.diagonal()) == pytest.approx(3.0, rel=0.5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_low_rank_is_captured_whole(dtype):
    A = rotated(join(torch.linspace(-2.0, 7.0, 6), torch.zeros(94))).to(dtype)
    found = diagonal(MatrixOperator(A), generator=generator())
    error = (found.values - A.diagonal()).abs().double()
    assert float(error.max()) < 100 * torch.finfo(dtype).eps * 7
    assert bool((error <= 4 * found.stderr.double()).all())
    assert found.num_products == 7 + 2


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices())
def test_enough_products_are_exact(A):
    n = len(A)
    found = diagonal(MatrixOperator(A), num_products=max(2, n), generator=generator())
    torch.testing.assert_close(found.values, A.diagonal())
    assert found.num_products == n
    assert bool((found.stderr <= 1e-13 * max(1.0, float(A.abs().sum()))).all())


def test_zero_operator_has_no_doubt():
    found = diagonal(Diagonal(torch.zeros(100, dtype=F64)), generator=generator())
    assert float(found.values.abs().max()) == float(found.stderr.max()) == 0.0


def test_products_are_counted_and_one_probe_claims_nothing():
    op = rotated_operator(FLAT)
    assert diagonal(op, num_products=31, generator=generator()).num_products == 31
    counting = Diagonal(FLAT)
    assert diagonal(counting, generator=generator()).num_products == counting.calls
    lone = diagonal(op, num_products=2, generator=generator())
    assert bool(lone.stderr.isinf().all())
    assert bool(lone.values.isfinite().all())
    with pytest.raises(OperatorError, match=r"num_products=1.*num_products >= 2"):
        diagonal(op, num_products=1, generator=generator())
