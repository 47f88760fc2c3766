"""The share of a vector along eigenvectors, against the true eigenvectors."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, Diagonal, generator, join, rotated, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import EigenPairs, MatrixOperator, alignment, eigenpairs, extremes, nearest

EIGENVALUES = join([30.0, 20.0, 11.0, -10.0], torch.linspace(0.5, 2.0, 196))


def true_shares(A, g, k):
    """Shares along the k largest true eigenvectors, largest eigenvalue first."""
    _, V = torch.linalg.eigh(A)
    return ((V.T @ g) ** 2 / g.square().sum()).flip(0)[:k]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tol", [0.3, 3e-2, 1e-3, 1e-8])
def test_bounds_hold_the_true_shares_at_every_tolerance(tol, seed):
    A = rotated(EIGENVALUES, seed)
    pairs = eigenpairs(MatrixOperator(A), 3, generator=generator(seed), tol=tol)
    # A vector with a known part along the three, so that the shares are no accident.
    _, V = torch.linalg.eigh(A)
    g = V[:, -3:] @ torch.tensor([1.0, -2.0, 3.0], dtype=F64)
    g += 0.2 * torch.randn(200, generator=generator(seed), dtype=F64)
    found = alignment(g, pairs, gap=9.0 - float(pairs.residuals.max()))
    true = true_shares(A, g, 3)
    low, high = found.bounds
    assert low <= float(true.sum()) <= high
    assert bool((found.share_bounds[:, 0] <= true).all())
    assert bool((true <= found.share_bounds[:, 1]).all())
    torch.testing.assert_close(found.shares.sum(), torch.tensor(found.total, dtype=F64))
    assert low <= found.total <= high
    if tol <= 1e-3:
        assert high - low < 0.03
    if tol == 1e-8:
        assert high - low < 1e-7
        assert found.total == pytest.approx(float(true.sum()), abs=1e-8)


def test_bounds_narrow_with_the_residual_and_not_beyond_it():
    # In the plane: y is turned from e₁ by ψ, so the residual of θ = yᵀAy is sin ψ cos ψ for the
    # gap 1, and g at 45 degrees to e₁ has share ½ there whatever ψ.
    A = torch.diag(torch.tensor([1.0, 0.0], dtype=F64))
    g = torch.ones(2, dtype=F64)
    for psi in (0.01, 0.1, 0.3):
        y = torch.tensor([[math.cos(psi)], [math.sin(psi)]], dtype=F64)
        theta = (y.T @ A @ y)[0]
        r = (A @ y - y * theta).norm()[None]
        pairs = EigenPairs(theta, y, r, torch.stack([theta - r, theta + r], dim=1), True, 1)
        found = alignment(g, pairs, gap=float(theta))
        assert found.total == pytest.approx(math.cos(math.pi / 4 - psi) ** 2)
        assert found.bounds[0] <= 0.5 + 1e-12 <= found.bounds[1]
        # The sin Θ theorem is sharp to the cosine here.
        assert found.bounds[0] == pytest.approx(0.5, abs=2 * psi**2)


@settings(max_examples=30, deadline=None)
@given(symmetric_matrices(min_size=2), st.integers(0, 50))
def test_shares_of_all_eigenvectors_sum_to_one(A, seed):
    n = len(A)
    g = torch.randn(n, generator=generator(seed), dtype=F64)
    pairs = eigenpairs(MatrixOperator(A), n, generator=generator())
    found = alignment(g, pairs)
    assert found.total == pytest.approx(1.0)
    assert found.bounds == pytest.approx((1.0, 1.0))
    assert 0.0 <= float(found.share_bounds.min()) <= float(found.share_bounds.max()) <= 1.0


def test_without_a_gap_the_last_pair_is_the_fence():
    A = rotated(EIGENVALUES)
    g = torch.randn(200, generator=generator(5), dtype=F64)
    pairs = eigenpairs(MatrixOperator(A), 3, generator=generator(), tol=1e-6)
    found = alignment(g, pairs)
    true = true_shares(A, g, 3)
    assert found.bounds[0] == pytest.approx(float(true[:2].sum()), abs=1e-4)
    assert found.bounds[0] <= float(true.sum())
    assert found.bounds[1] == 1.0
    assert float(found.share_bounds[1, 1] - found.share_bounds[1, 0]) < 1e-4
    assert found.share_bounds[2].tolist() == [0.0, 1.0]


def test_nothing_is_claimed_where_nothing_is_known():
    op = Diagonal(EIGENVALUES)
    g = torch.ones(200, dtype=F64)
    one = eigenpairs(op, 1, generator=generator())
    assert alignment(g, one).bounds == (0.0, 1.0)
    around = nearest(op, 15.0, 2, generator=generator())
    single = nearest(op, 15.0, 3, generator=generator())
    assert not bool((single.values.diff() >= 0).all() or (single.values.diff() <= 0).all())
    assert alignment(g, single).bounds == (0.0, 1.0)
    known = alignment(g, around, gap=8.0)
    assert known.bounds[0] <= 2 / 200 <= known.bounds[1] < 0.1


def test_bottom_pairs_and_float32():
    op = MatrixOperator(rotated(EIGENVALUES).float())
    ends = extremes(op, 2, generator=generator(), tol=1e-4)
    g = ends.bottom.vectors[:, 0] + 2 * ends.bottom.vectors[:, 1]
    found = alignment(g, ends.bottom)
    torch.testing.assert_close(found.shares, torch.tensor([0.2, 0.8]), atol=1e-3, rtol=0)
    assert found.shares.dtype == torch.float32
    assert str(found).startswith("1 (0.2 … 1")


def test_arguments_out_of_range_are_refused_with_the_way_out():
    pairs = eigenpairs(Diagonal(EIGENVALUES), 2, generator=generator())
    with pytest.raises(OperatorError, match=r"shape \(3,\).*\(200,\)"):
        alignment(torch.ones(3, dtype=F64), pairs)
    for fill in (0.0, math.nan, math.inf):
        with pytest.raises(OperatorError, match="finite vector that is not zero"):
            alignment(torch.full((200,), fill, dtype=F64), pairs)
    with pytest.raises(OperatorError, match="gap=0"):
        alignment(torch.ones(200, dtype=F64), pairs, gap=0.0)
