"""The eigenvalues nearest a value: bounds that hold always, and none missed at n products."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import (
    F64,
    FEW_VALUES,
    SPECTRA,
    Diagonal,
    generator,
    join,
    rotated_operator,
    symmetric_matrices,
)

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, nearest

# Two bands with two lonely eigenvalues in the gap between them.
GAP = join(torch.linspace(-10.0, -5.0, 100), [-0.3, 0.1], torch.linspace(3.0, 10.0, 100))


def by_distance(eigenvalues, sigma, k):
    return eigenvalues[(eigenvalues - sigma).abs().argsort()][:k]


def check(pairs, A, sigma, k):
    """What is true whatever was missed: residuals, unit vectors, an eigenvalue in each bound."""
    true = torch.linalg.eigvalsh(A)
    rest = A @ pairs.vectors - pairs.vectors * pairs.values
    floor = 1e-13 * max(1.0, float(A.abs().max()) * len(A))
    assert bool((rest.norm(dim=0) <= pairs.residuals * (1 + 1e-9) + floor).all())
    torch.testing.assert_close(pairs.vectors.T @ pairs.vectors, torch.eye(k, dtype=F64))
    inside = (pairs.bounds[:, :1] - floor <= true) & (true <= pairs.bounds[:, 1:] + floor)
    assert bool(inside.any(dim=1).all())
    distances = (pairs.values - sigma).abs()
    assert bool((distances[1:] >= distances[:-1] - floor).all())


@pytest.mark.parametrize("share", [0.0, 0.3, -0.9, 2.0])
@pytest.mark.parametrize("name", SPECTRA)
def test_the_nearest_are_found_in_every_spectrum(name, share):
    eigenvalues = SPECTRA[name]
    scale = float(eigenvalues.abs().max())
    sigma = share * scale
    op = rotated_operator(eigenvalues)
    pairs = nearest(op, sigma, 3, generator=generator(), tol=1e-7)
    check(pairs, op.to_dense(), sigma, 3)
    assert pairs.is_converged
    # Of two at one distance either may come first, so distances are compared.
    found, true = (pairs.values - sigma).abs(), (by_distance(eigenvalues, sigma, 3) - sigma).abs()
    torch.testing.assert_close(found, true, rtol=0, atol=1e-6 * scale)


def test_a_lonely_eigenvalue_inside_costs_a_share_of_the_products():
    op = rotated_operator(GAP)
    pairs = nearest(op, 0.0, 2, generator=generator(), tol=1e-6)
    torch.testing.assert_close(pairs.values, torch.tensor([0.1, -0.3], dtype=F64))
    assert pairs.num_products < 100
    assert pairs.is_converged
    check(pairs, op.to_dense(), 0.0, 2)


@pytest.mark.parametrize("max_products", [2, 5, 20, 60])
@pytest.mark.parametrize("seed", range(5))
def test_bounds_hold_and_nothing_is_claimed_when_the_products_run_out(max_products, seed):
    op = rotated_operator(GAP)
    pairs = nearest(op, -4.0, 2, generator=generator(seed), tol=1e-9, max_products=max_products)
    check(pairs, op.to_dense(), -4.0, 2)
    assert not pairs.is_converged
    assert pairs.num_products == max_products


@pytest.mark.parametrize("seed", range(25))
def test_a_run_that_stops_by_itself_has_missed_none_nearer(seed):
    # Not a theorem, so over many spectra: a crowded bulk at 0 and a few lonely values around it.
    g = generator(seed)
    eigenvalues = 10 * torch.rand(150, generator=g, dtype=F64) ** 3
    eigenvalues[:4] = 5 * torch.randn(4, generator=g, dtype=F64)
    sigma, k = float(3 * torch.randn(1, generator=g, dtype=F64)), 1 + seed % 3
    pairs = nearest(Diagonal(eigenvalues), sigma, k, generator=g, tol=1e-5)
    assert pairs.is_converged
    found, true = (pairs.values - sigma).abs(), (by_distance(eigenvalues, sigma, k) - sigma).abs()
    torch.testing.assert_close(found, true, rtol=0, atol=2e-5 * float(eigenvalues.abs().max()))


@settings(max_examples=40, deadline=None)
@given(symmetric_matrices(), st.floats(-12, 12), st.data())
def test_small_matrices_are_exact(A, sigma, data):
    k = data.draw(st.integers(1, len(A)))
    pairs = nearest(MatrixOperator(A), sigma, k, generator=generator())
    check(pairs, A, sigma, k)
    assert pairs.is_converged
    assert pairs.num_products == len(A)
    found = (pairs.values - sigma).abs()
    true = (by_distance(torch.linalg.eigvalsh(A), sigma, k) - sigma).abs()
    torch.testing.assert_close(found, true, rtol=0, atol=1e-11)


@settings(max_examples=15, deadline=None)
@given(symmetric_matrices(FEW_VALUES, 65, 70), st.floats(-3, 4), st.integers(1, 8))
def test_copies_of_a_repeated_eigenvalue_are_counted(A, sigma, k):
    pairs = nearest(MatrixOperator(A), sigma, k, generator=generator(), tol=1e-8)
    check(pairs, A, sigma, k)
    found = (pairs.values - sigma).abs()
    true = (by_distance(torch.linalg.eigvalsh(A), sigma, k) - sigma).abs()
    torch.testing.assert_close(found, true, rtol=0, atol=1e-6)


def test_sigma_on_an_eigenvalue_and_far_outside():
    op = rotated_operator(GAP)
    on = nearest(op, 0.1, generator=generator(), tol=1e-8)
    assert float(on.values[0]) == pytest.approx(0.1, abs=1e-7)
    outside = nearest(op, 1e6, generator=generator(), tol=1e-8)
    assert float(outside.values[0]) == pytest.approx(10.0, abs=1e-5)


def test_float32_says_what_it_cannot_see():
    op = rotated_operator(GAP, dtype=torch.float32)
    pairs = nearest(op, 0.0, 2, generator=generator(), tol=1e-4)
    assert pairs.values.dtype == torch.float32
    errors = (pairs.values.double() - torch.tensor([0.1, -0.3], dtype=F64)).abs()
    assert bool((errors <= pairs.residuals.double()).all())


@pytest.mark.parametrize("k", [1, 4])
def test_products_are_counted(k):
    op = Diagonal(GAP)
    assert nearest(op, 0.0, k, generator=generator()).num_products == op.calls


def test_arguments_out_of_range_are_refused_with_the_way_out():
    op = Diagonal(torch.ones(4, dtype=F64))
    with pytest.raises(OperatorError, match=r"sigma=inf.*extremes\(op\)"):
        nearest(op, float("inf"), generator=generator())
    with pytest.raises(OperatorError, match=r"k=5.*between 1 and 4"):
        nearest(op, 0.0, 5, generator=generator())
    with pytest.raises(OperatorError, match=r"max_products=1.*max_products >= 2"):
        nearest(op, 0.0, 2, generator=generator(), max_products=1)
