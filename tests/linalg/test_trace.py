"""XTrace: unbiased, honest about its error, better than Hutchinson where the spectrum decays."""

import math

import pytest
import torch
from hypothesis import given, settings
from spectra import F64, SPECTRA, Diagonal, generator, join, rotated_operator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, trace

SEEDS = 200
# Rank above the 15 probes of the default budget: nothing is captured whole.
DECAYING = 0.8 ** torch.arange(150, dtype=F64)
INDEFINITE = join([5.0, 8.0, -3.0, 20.0, 11.0], torch.linspace(-1.0, 1.0, 145))
FLAT = torch.linspace(0.5, 1.5, 150, dtype=F64)


def samples(op, num_products=30, seeds=SEEDS):
    found = [trace(op, num_products=num_products, generator=generator(s)) for s in range(seeds)]
    return (
        torch.tensor([f.value for f in found], dtype=F64),
        torch.tensor([f.stderr for f in found], dtype=F64),
    )


def rms(errors):
    return float(errors.square().mean().sqrt())


@pytest.mark.parametrize("eigenvalues", [DECAYING, INDEFINITE, FLAT])
@pytest.mark.parametrize("num_products", [6, 30])
def test_unbiased_and_honest(eigenvalues, num_products):
    op = rotated_operator(eigenvalues)
    values, stderrs = samples(op, num_products)
    errors = values - float(eigenvalues.sum())
    assert abs(float(errors.mean())) <= 4 * float(errors.std()) / math.sqrt(SEEDS)
    # The leave-one-out estimates share their sketch: the reported error is somewhat small.
    assert 0.6 < rms(stderrs) / rms(errors) < 1.25
    assert float((errors.abs() > 4 * stderrs).double().mean()) < (0.05 if num_products > 6 else 0.3)


def test_beats_hutchinson_where_the_spectrum_decays():
    op = rotated_operator(DECAYING)
    values, _ = samples(op, seeds=60)
    ours = rms(values - 5.0)
    hutchinson = []
    for seed in range(60):
        signs = torch.randint(0, 2, (150, 30), generator=generator(seed)).double() * 2 - 1
        hutchinson.append(float((signs * (op @ signs)).sum(0).mean()) - 5.0)
    assert ours < rms(torch.tensor(hutchinson)) / 4


def test_normalisation_makes_a_multiple_of_the_identity_exact():
    # A spherical probe sees tr(cI) without variance, on any complement.
    found = trace(Diagonal(3.0 * torch.ones(100, dtype=F64)), generator=generator())
    assert found.value == pytest.approx(300.0, rel=1e-13)
    assert found.stderr < 1e-10


@pytest.mark.parametrize("rank", [1, 3, 14])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_low_rank_is_captured_whole(rank, dtype):
    eigenvalues = join(torch.linspace(-2.0, 7.0, rank), torch.zeros(150 - rank))
    op = rotated_operator(eigenvalues, dtype=dtype)
    true = float(op.to_dense().double().trace())
    found = trace(op, generator=generator())
    assert abs(found.value - true) <= found.stderr
    assert found.stderr <= 5000 * torch.finfo(dtype).eps * float(eigenvalues.abs().sum())
    assert found.num_products == 15 + rank


def test_zero_operator():
    found = trace(Diagonal(torch.zeros(100, dtype=F64)), generator=generator())
    assert found.value == 0.0
    assert found.stderr == 0.0


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices())
def test_enough_products_are_exact(A):
    n = len(A)
    found = trace(MatrixOperator(A), num_products=max(2, n), generator=generator())
    true = float(torch.linalg.eigvalsh(A).sum())
    assert found.value == pytest.approx(true, abs=1e-12 * max(1.0, float(A.abs().sum())))
    assert found.num_products == n
    assert found.stderr <= 1e-13 * max(1.0, float(A.abs().sum()))


def test_products_are_counted():
    op = Diagonal(SPECTRA["even"])
    assert trace(op, num_products=31, generator=generator()).num_products == 30 == op.calls


def test_one_probe_claims_nothing():
    found = trace(Diagonal(SPECTRA["even"]), num_products=2, generator=generator())
    assert found.stderr == math.inf
    assert math.isfinite(found.value)
    with pytest.raises(OperatorError, match=r"num_products=1.*num_products >= 2"):
        trace(Diagonal(SPECTRA["even"]), num_products=1, generator=generator())


def test_estimate_prints_its_doubt():
    found = trace(MatrixOperator(torch.diag(torch.tensor([1.0, 2.0]))), generator=generator())
    assert str(found).startswith("3 ± ")
