"""The outermost eigenpairs: true values, honest residuals, bounds that hold, products counted."""

import math

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, FEW_VALUES, SPECTRA, Diagonal, generator, join, rotated, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, MatvecOperator, eigenpairs, extremes


def true_residuals(A, pairs):
    A, Y, values = A.double(), pairs.vectors.double(), pairs.values.double()
    return torch.linalg.vector_norm(A @ Y - Y * values, dim=0)


def assert_bounds_hold(pairs, true):
    low, high = pairs.bounds.double().T
    assert bool((low <= true).all()), (low, true)
    assert bool((true <= high).all()), (true, high)


@settings(max_examples=20, deadline=None)
@given(symmetric_matrices(), st.data())
def test_small_matrices_with_every_multiplicity(A, data):
    n = len(A)
    k = data.draw(st.integers(1, n))
    ends = extremes(MatrixOperator(A), k, generator=generator())
    true = torch.linalg.eigvalsh(A)
    scale = max(1.0, float(true.abs().max()))
    torch.testing.assert_close(ends.top.values, true.flip(0)[:k], rtol=0, atol=1e-12 * scale)
    torch.testing.assert_close(ends.bottom.values, true[:k], rtol=0, atol=1e-12 * scale)
    assert ends.num_products == n
    assert ends.top.is_converged


@settings(max_examples=20, deadline=None)
@given(symmetric_matrices(FEW_VALUES, min_size=3), st.integers(0, 50), st.data())
def test_krylov_runs_to_the_end_count_every_multiplicity(A, seed, data):
    # One step short of n the matrix is not multiplied out: the run must restart to find copies.
    n = len(A)
    k = data.draw(st.integers(1, n - 1))
    pairs = eigenpairs(MatrixOperator(A), k, generator=generator(seed), tol=1e-9, max_steps=n - 1)
    true = torch.linalg.eigvalsh(A).flip(0)[:k]
    if pairs.is_converged:
        scale = float(torch.linalg.eigvalsh(A).abs().max())
        torch.testing.assert_close(pairs.values, true, rtol=0, atol=1e-12 * scale)
        assert_bounds_hold(pairs, true)
    assert bool((true_residuals(A, pairs) <= pairs.residuals).all())
    assert pairs.num_products <= n - 1


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [0, 1])
def test_both_ends_of_the_shelf(name, dtype, seed):
    A = rotated(SPECTRA[name], seed).to(dtype)
    op = MatrixOperator(A)
    ends = extremes(op, 5, generator=generator(seed))
    # The eigenvalues of the matrix as rounded to its dtype, in float64.
    true = torch.linalg.eigvalsh(op.to_dense().double())
    scale = float(true.abs().max())
    for pairs, wanted in [(ends.top, true.flip(0)[:5]), (ends.bottom, true[:5])]:
        assert pairs.is_converged
        assert_bounds_hold(pairs, wanted)
        # Not vacuous: where eigenvalues crowd within tol, so do the bounds, to a few tol.
        assert float((pairs.bounds[:, 1] - pairs.bounds[:, 0]).max()) <= 5e-3 * scale
        # A float32 vector is a unit vector to its rounding only.
        assert bool((true_residuals(A, pairs) <= pairs.residuals.double()).all())
        assert bool((pairs.residuals <= 1e-3 * scale * (1 + 1e-5)).all())
        Y = pairs.vectors.double()
        gram = (Y.T @ Y - torch.eye(5, dtype=F64)).abs().max()
        assert float(gram) <= 1000 * torch.finfo(dtype).eps
        assert pairs.values.dtype == dtype


def test_residuals_and_bounds_of_a_run_cut_short():
    A = rotated(SPECTRA["outliers at both ends"])
    ends = extremes(MatrixOperator(A), 3, generator=generator(1), max_steps=6)
    true = torch.linalg.eigvalsh(A)
    for pairs, wanted in [(ends.top, true.flip(0)[:3]), (ends.bottom, true[:3])]:
        assert not pairs.is_converged
        reported, measured = pairs.residuals, true_residuals(A, pairs)
        assert bool((measured <= reported).all())
        torch.testing.assert_close(measured, reported, rtol=1e-6, atol=1e-9)
        assert float(reported.max()) > 1e-3 * 50
        # Interlacing holds for any run: every Ritz value lies inward of its eigenvalue.
        sign = 1 if pairs is ends.top else -1
        assert bool((sign * pairs.values <= sign * wanted + 1e-12).all())
    assert ends.num_products == 6


def test_upper_bound_is_kato_temple_where_the_gap_is_resolved():
    # θ₁ ≈ 50, next 30: the quadratic bound must beat the linear one by the ratio r/gap.
    pairs = eigenpairs(
        MatrixOperator(rotated(SPECTRA["outliers at both ends"])), 1, generator=generator(1)
    )
    width = float(pairs.bounds[0, 1] - pairs.values[0])
    residual = float(pairs.residuals[0])
    assert residual**2 / 20 == pytest.approx(width, rel=0.2, abs=1e-12)
    assert width < residual / 100


@pytest.mark.parametrize("seed", range(5))
def test_values_agree_with_eigsh(seed):
    X = torch.randn(200, 200, generator=generator(seed), dtype=F64)
    A = X + X.T
    ends = extremes(MatrixOperator(A), 4, generator=generator(seed), tol=1e-8)
    start = np.ones(200)
    top = scipy.sparse.linalg.eigsh(A.numpy(), 4, which="LA", v0=start, return_eigenvectors=False)
    bottom = scipy.sparse.linalg.eigsh(
        A.numpy(), 4, which="SA", v0=start, return_eigenvectors=False
    )
    np.testing.assert_allclose(ends.top.values.numpy(), np.sort(top)[::-1], rtol=1e-10)
    np.testing.assert_allclose(ends.bottom.values.numpy(), np.sort(bottom), rtol=1e-10)


@pytest.mark.parametrize("name", ["identity", "zero", "three values", "projector"])
def test_copies_of_a_repeated_eigenvalue_are_counted(name):
    pairs = eigenpairs(MatrixOperator(rotated(SPECTRA[name])), 9, generator=generator(4))
    expected = SPECTRA[name].sort(descending=True).values[:9]
    torch.testing.assert_close(pairs.values, expected, rtol=0, atol=1e-12)
    assert pairs.is_converged
    assert pairs.num_products <= 30


def test_one_run_serves_both_ends():
    op = Diagonal(SPECTRA["even"])
    ends = extremes(op, 3, generator=generator())
    assert ends.num_products == op.calls
    assert ends.top.num_products == ends.bottom.num_products == op.calls
    one = Diagonal(SPECTRA["even"])
    eigenpairs(one, 3, generator=generator())
    assert op.calls < 2 * one.calls


def test_stops_by_itself_and_early():
    op = Diagonal(join([100.0], torch.linspace(0, 1, 999)))
    pairs = eigenpairs(op, 1, generator=generator())
    assert pairs.is_converged
    assert pairs.num_products == op.calls <= 8
    tight = eigenpairs(op, 1, generator=generator(), tol=1e-10)
    assert pairs.num_products < tight.num_products <= 12


def test_run_that_meets_its_limit_says_so():
    op = Diagonal(torch.linspace(0, 1, 2000, dtype=F64))
    pairs = eigenpairs(op, 5, generator=generator(), tol=1e-12, max_steps=30)
    assert not pairs.is_converged
    assert pairs.num_products == op.calls == 30
    assert eigenpairs(op, 5, generator=generator(), tol=0.0).num_products == 200


def test_asymmetry_shows_in_the_residual():
    A = rotated(SPECTRA["outliers at both ends"])
    noise = 1e-2 * torch.randn(150, 150, generator=generator(5), dtype=F64)
    op = MatvecOperator(lambda v: (A + noise) @ v, 150, dtype=F64)
    pairs = eigenpairs(op, 2, generator=generator(), tol=1e-12, max_steps=60)
    assert bool((true_residuals(A + noise, pairs) <= pairs.residuals).all())
    assert float(pairs.residuals.min()) > 1e-2
    assert not pairs.is_converged


def test_one_by_one():
    ends = extremes(MatrixOperator(torch.tensor([[-3.0]])), generator=generator())
    assert ends.top.values.tolist() == ends.bottom.values.tolist() == [-3.0]
    assert ends.num_products == 1


@pytest.mark.parametrize("k", [0, 4, -1])
def test_number_of_pairs_out_of_range(k):
    op = MatrixOperator(torch.eye(3))
    with pytest.raises(OperatorError, match=rf"eigenpairs\(op, k={k}\).*k between 1 and 3"):
        eigenpairs(op, k, generator=generator())
    with pytest.raises(OperatorError, match=rf"extremes\(op, k={k}\)"):
        extremes(op, k, generator=generator())


def test_fewer_steps_than_pairs():
    with pytest.raises(OperatorError, match="max_steps >= 3"):
        eigenpairs(MatrixOperator(torch.eye(3)), 3, generator=generator(), max_steps=2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize(("n", "product"), [(10, 3), (100, 7)])
def test_nan_is_named_with_its_product(bad, n, product):
    calls = []

    def multiply(v):
        calls.append(v)
        return torch.arange(1.0, n + 1) * v + (bad if len(calls) == product else 0.0)

    with pytest.raises(OperatorError, match=rf"eigenpairs: product {product} of this run"):
        eigenpairs(MatvecOperator(multiply, n), 2, generator=generator())


class Sampled(MatrixOperator):
    """A matrix with another one near it, as a Hessian has that of some samples."""

    def __init__(self, A, near):
        super().__init__(A)
        self.near, self.num_asked = near, 0

    def sampled(self):
        self.num_asked += 1
        return self.near


def outlying(n=400):
    """Six eigenvalues that stand out of an even rest, as a trained network's do."""
    rest = torch.linspace(0, 0.5, n - 6, dtype=F64)
    return rotated(torch.cat([rest, torch.linspace(0.55, 1, 6, dtype=F64)]))


def test_a_search_begins_where_a_sample_points_to():
    A = outlying()
    noise = torch.randn(A.shape, dtype=F64, generator=generator(1)) * 2e-4
    op = Sampled(A, MatrixOperator(A + noise + noise.T))
    pairs = eigenpairs(op, 3, generator=generator(), tol=1e-3)
    plain = eigenpairs(MatrixOperator(A), 3, generator=generator(), tol=1e-3)
    assert op.num_asked == 1
    assert pairs.num_products <= 0.75 * plain.num_products
    for found in (pairs, plain):
        assert found.is_converged
        assert bool((true_residuals(A, found) <= 1e-3).all())
        assert_bounds_hold(found, torch.linalg.eigvalsh(A).flip(0)[:3])


def test_a_sample_that_is_far_or_no_number_spoils_nothing():
    A = outlying()
    true = torch.linalg.eigvalsh(A).flip(0)[:3]
    broken = MatvecOperator(lambda v: v * math.nan, len(A), dtype=F64)
    for near in (MatrixOperator(-A), broken):
        pairs = eigenpairs(Sampled(A, near), 3, generator=generator(), tol=1e-6)
        assert pairs.is_converged
        torch.testing.assert_close(pairs.values, true, rtol=0, atol=1e-6)


def test_what_is_made_of_an_operator_has_a_sample_too():
    A = outlying(70)
    op = Sampled(A, MatrixOperator(A + 0.01))
    v = torch.randn(70, dtype=F64, generator=generator())
    made = (-2 * op).shifted(3.0)
    torch.testing.assert_close(made.sampled() @ v, -2 * ((A + 0.01) @ v) + 3 * v)
    assert MatrixOperator(A).sampled() is None
    assert (2 * MatrixOperator(A)).shifted(1.0).sampled() is None
