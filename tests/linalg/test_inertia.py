"""Exact inertia against spectra that are known."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, Diagonal, generator, join, rotated, rotated_operator

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, MatvecOperator, inertia


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 6), st.integers(0, 6), st.integers(0, 6), st.integers(0, 50))
def test_counts_survive_a_change_of_basis(negative, null, positive, seed):
    # Sylvester: BᵀDB has the inertia of D for any invertible B; no eigenvalue is known here.
    n = negative + null + positive
    if n == 0:
        return
    signs = join(-torch.ones(negative), torch.zeros(null), torch.ones(positive))
    B = torch.randn(n, n, generator=generator(seed), dtype=F64) + 4 * torch.eye(n, dtype=F64)
    if float(torch.linalg.cond(B)) > 1e3:
        return
    A = B.T @ torch.diag(signs) @ B
    count = inertia(MatrixOperator(A), null_tol=1e-9)
    assert (count.negative, count.null, count.positive) == (negative, null, positive)
    assert count.interval == (negative, negative + null)
    assert count.is_exact
    assert count.num_products == n


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_default_tolerance_is_that_of_rounding(dtype):
    eigenvalues = join([-3.0, -2.0], torch.zeros(95), [1.0, 2.0, 7.0])
    count = inertia(rotated_operator(eigenvalues, dtype=dtype))
    assert (count.negative, count.null, count.positive) == (2, 95, 3)
    assert count.null_tol == pytest.approx(100 * torch.finfo(dtype).eps * 7.0, rel=1e-5)
    assert count.eigenvalues.dtype == F64


def test_tolerance_decides_what_is_null():
    op = MatrixOperator(torch.diag(torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 1.0], dtype=F64)))
    wide, narrow = inertia(op, null_tol=1e-2), inertia(op, null_tol=0.0)
    assert (wide.negative, wide.null, wide.positive, wide.interval) == (1, 3, 1, (1, 4))
    assert (narrow.negative, narrow.null, narrow.positive, narrow.interval) == (2, 1, 2, (2, 3))
    edge = inertia(op, null_tol=1e-3)
    assert edge.null == 3


def test_eigenvalues_are_all_there():
    A = rotated(torch.linspace(-1.0, 2.0, 20, dtype=F64))
    count = inertia(MatrixOperator(A))
    torch.testing.assert_close(count.eigenvalues, torch.linspace(-1.0, 2.0, 20, dtype=F64))


def test_zero_matrix_and_one_by_one():
    assert inertia(MatrixOperator(torch.zeros(4, 4))).null == 4
    assert inertia(MatrixOperator(torch.tensor([[-1e-30]]))).negative == 1


def test_products_are_counted():
    op = Diagonal(torch.ones(30, dtype=F64))
    assert inertia(op).num_products == op.calls == 30


def test_too_large_a_matrix_names_the_estimate():
    op = MatvecOperator(lambda v: v, 50_000)
    with pytest.raises(OperatorError, match=r"18\.6 GiB.*density\(op, generator=g\)\.inertia"):
        inertia(op)
    with pytest.raises(OperatorError, match="max_bytes=100"):
        inertia(MatrixOperator(torch.eye(4)), max_bytes=100)
    with pytest.raises(OperatorError, match="null_tol=-1"):
        inertia(MatrixOperator(torch.eye(4)), null_tol=-1.0)


def test_nan_is_named_with_its_product():
    def multiply(v):
        return v + (float("nan") if float(v[5]) == 1.0 else 0.0)

    with pytest.raises(OperatorError, match="inertia: product 6 of this run"):
        inertia(MatvecOperator(multiply, 10))
