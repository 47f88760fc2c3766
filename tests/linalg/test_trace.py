"""The trace: unbiased, honest about its error, better than Hutchinson where the spectrum decays."""

import math

import pytest
import torch
from hypothesis import given, settings
from spectra import F64, SPECTRA, Diagonal, generator, join, rotated_operator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, trace

SEEDS = 200
# Rank above the default budget: nothing is captured whole.
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
    # The estimates share their images: the reported error is somewhat small.
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
    # One step finds that the space is closed, two probes that nothing is beside it.
    assert found.num_products == rank + 1 + 2


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
    assert trace(op, num_products=31, generator=generator()).num_products == 31 == op.calls


def test_one_probe_knows_its_own_variance():
    found = [trace(Diagonal(FLAT), num_products=2, generator=generator(s)) for s in range(SEEDS)]
    errors = torch.tensor([f.value - float(FLAT.sum()) for f in found])
    stderrs = torch.tensor([f.stderr for f in found])
    assert rms(stderrs) / rms(errors) == pytest.approx(1.0, abs=0.2)


def test_a_budget_of_one_is_refused():
    with pytest.raises(OperatorError, match=r"num_products=1.*num_products >= 2"):
        trace(Diagonal(SPECTRA["even"]), num_products=1, generator=generator())


def test_estimate_prints_its_doubt():
    found = trace(MatrixOperator(torch.diag(torch.tensor([1.0, 2.0]))), generator=generator())
    assert str(found).startswith("3 ± ")


@pytest.mark.parametrize("eigenvalues", [DECAYING, 1 / torch.arange(1, 501, dtype=F64)])
def test_a_tolerance_stops_by_itself_and_is_kept(eigenvalues):
    op, true = Diagonal(eigenvalues), float(eigenvalues.sum())
    found = [trace(op, tol=0.02, generator=generator(s)) for s in range(30)]
    assert all(f.stderr <= 0.02 * f.value for f in found)
    errors = torch.tensor([f.value / true - 1 for f in found])
    assert rms(errors) < 0.02 * 1.3
    # Hutchinson's takes 2‖A‖_F²/(tol·tr A)² of them: 556, and 177.
    hutchinson = 2 * float(eigenvalues.square().sum()) / (0.02 * true) ** 2
    assert sum(f.num_products for f in found) / 30 < hutchinson / 4


def test_a_tolerance_out_of_reach_stops_at_the_budget():
    found = trace(Diagonal(INDEFINITE), tol=1e-6, num_products=40, generator=generator())
    assert found.num_products == 40
    assert found.stderr > 1e-6 * abs(found.value)
    with pytest.raises(OperatorError, match=r"tol=0.*tol=0\.01"):
        trace(Diagonal(FLAT), tol=0.0, generator=generator())


def covered(eigenvalues, budget):
    """The share of 60 runs that lie within two of their own standard errors."""
    op, true = Diagonal(eigenvalues), float(eigenvalues.sum())
    found = [trace(op, num_products=budget, generator=generator(s)) for s in range(60)]
    return sum(abs(f.value - true) <= 2 * f.stderr for f in found) / 60


J = torch.arange(1, 301, dtype=F64)


@pytest.mark.parametrize("budget", [12, 30])
@pytest.mark.parametrize(
    "eigenvalues",
    [
        0.8**J,
        0.95**J,
        1 / J,
        J**-0.5,
        J**-2.0,
        -1 / J,
        join(1 / J[:150], -0.3 / J[:150]),
        1 + 1e-6 * torch.sin(J),
        join([100.0], torch.linspace(-0.5, 1.0, 299)),
        join(torch.linspace(-3.0, 5.0, 30), torch.zeros(270)),
        torch.tensor([2.0, 0.5, -1.0], dtype=F64).repeat(100),
    ],
)
def test_two_standard_errors_hold_most_of_the_time(eigenvalues, budget):
    # 95 % of a normal error; the estimates share their images, and few probes tell a spread badly.
    assert covered(eigenvalues, budget) >= 0.8


def test_hardly_worse_than_hutchinson_where_nothing_can_be_gained():
    # A sixth of the products is spent to find that out: √(6/5) of the error.
    for eigenvalues in (torch.linspace(-0.9, 1.1, 300, dtype=F64), FLAT.repeat(2)):
        found = [trace(Diagonal(eigenvalues), generator=generator(s)) for s in range(100)]
        errors = torch.tensor([f.value for f in found]) - float(eigenvalues.sum())
        n, scatter = len(eigenvalues), eigenvalues - eigenvalues.mean()
        hutchinson = math.sqrt(2 * n / (n + 2) * float(scatter.square().sum()) / 30)
        assert rms(errors) < 1.3 * hutchinson
