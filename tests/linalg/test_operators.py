"""Operators multiply, add and scale like the matrices they stand for."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, Diagonal, generator, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, MatvecOperator


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices(), st.floats(-3, 3), st.floats(-3, 3), st.integers(0, 3))
def test_arithmetic_is_that_of_matrices(A, c, sigma, k):
    n = len(A)
    B = torch.diag(torch.arange(n, dtype=F64))
    op, other = MatrixOperator(A), MatrixOperator(B)
    V = torch.randn(n, k, generator=generator(1), dtype=F64)
    for made, dense in [
        (op + other, A + B),
        (op - other, A - B),
        (c * op, c * A),
        (op * c, c * A),
        (-op, -A),
        (op.shifted(sigma), A + sigma * torch.eye(n, dtype=F64)),
        (np.float64(c) * op.shifted(1) - 2 * other, c * (A + torch.eye(n, dtype=F64)) - 2 * B),
    ]:
        torch.testing.assert_close(made @ V, dense @ V)
        torch.testing.assert_close(made.to_dense(chunk_size=2), dense)


def test_shape_of_a_product_is_that_of_its_factor():
    op = MatrixOperator(torch.eye(4, dtype=F64))
    assert (op @ torch.ones(4, dtype=F64)).shape == (4,)
    assert (op @ torch.ones(4, 1, dtype=F64)).shape == (4, 1)
    assert op.shape == (4, 4)
    assert op.size == 4
    assert op.dtype == F64
    assert op.device == torch.device("cpu")


def test_matvec_operator_multiplies_column_by_column():
    A = torch.tensor([[2.0, 1.0], [1.0, -3.0]])
    op = MatvecOperator(lambda v: A @ v, 2)
    V = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]])
    torch.testing.assert_close(op @ V, A @ V)
    assert (op @ V[:, :0]).shape == (2, 0)


def test_dense_of_an_asymmetric_function_is_its_symmetric_part():
    A = torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert MatvecOperator(lambda v: A @ v, 2).to_dense().tolist() == [[0.0, 0.5], [0.5, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_scipy_operator_feeds_eigsh(dtype):
    A = torch.diag(torch.arange(1.0, 31.0, dtype=dtype))
    linear = MatrixOperator(A).to_scipy()
    assert linear.dtype == torch.empty(0, dtype=dtype).numpy().dtype
    start = np.ones(30, dtype=linear.dtype)
    values = scipy.sparse.linalg.eigsh(linear, k=3, return_eigenvectors=False, v0=start)
    assert sorted(values) == pytest.approx([28.0, 29.0, 30.0], rel=1e-4)
    block = np.eye(30, dtype=linear.dtype)[:, :2]
    assert np.array_equal(linear @ block, A.numpy()[:, :2])


def test_products_record_no_graph():
    weight = torch.ones(3, requires_grad=True)
    op = MatvecOperator(lambda v: weight * v, 3)
    v = torch.ones(3, requires_grad=True)
    assert not (op @ v).requires_grad
    assert not (2 * op @ v).requires_grad
    assert not MatrixOperator(torch.diag(weight)).to_dense().requires_grad


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (torch.ones(3), r"shape \(3,\).*takes \(4,\).*give v with 4 rows"),
        (torch.ones(2, 4), r"shape \(2, 4\)"),
        (torch.ones(4, 1, 1), r"shape \(4, 1, 1\)"),
        (torch.ones(4, dtype=F64), r"float64.*takes torch\.float32.*v\.to\(op\.dtype\)"),
        (torch.ones(4, device="meta"), r"on meta.*lives on cpu.*v\.to\(op\.device\)"),
    ],
)
def test_wrong_factor_is_refused_with_the_way_out(factor, words):
    with pytest.raises(OperatorError, match=words):
        MatrixOperator(torch.eye(4)) @ factor


def test_matrices_that_are_no_operators_are_refused():
    with pytest.raises(OperatorError, match=r"shape \(2, 3\).*square"):
        MatrixOperator(torch.ones(2, 3))
    with pytest.raises(OperatorError, match=r"differs from its transpose by 1e-05"):
        MatrixOperator(torch.tensor([[1.0, 1e-5], [0.0, 1.0]], dtype=F64))
    with pytest.raises(OperatorError, match="NaN"):
        MatrixOperator(torch.tensor([[float("nan")]]))
    with pytest.raises(OperatorError, match="floating"):
        MatrixOperator(torch.eye(2, dtype=torch.int64))
    with pytest.raises(OperatorError, match="size=0"):
        MatvecOperator(lambda v: v, 0)


def test_rounding_is_not_asymmetry():
    B = torch.randn(200, 200, generator=generator())
    A = B.T @ B
    A[0, 1] += 1e-7 * float(A.abs().max())
    assert MatrixOperator(A).size == 200


def test_operators_that_do_not_fit_do_not_add():
    with pytest.raises(OperatorError, match="sizes differ, 2 and 3"):
        MatrixOperator(torch.eye(2)) + MatrixOperator(torch.eye(3))
    with pytest.raises(OperatorError, match="dtypes differ"):
        MatrixOperator(torch.eye(2)) - MatrixOperator(torch.eye(2, dtype=F64))


def test_dense_that_does_not_fit_names_the_memory_it_takes():
    op = MatvecOperator(lambda v: v, 100_000)
    with pytest.raises(OperatorError, match=r"40000000000 bytes \(37\.3 GiB\).*eigenpairs"):
        op.to_dense()
    with pytest.raises(OperatorError, match=r"max_bytes=399.*400 bytes"):
        MatrixOperator(torch.eye(10)).to_dense(max_bytes=399)
    assert MatrixOperator(torch.eye(10)).to_dense(max_bytes=400).shape == (10, 10)
    with pytest.raises(OperatorError, match="chunk_size=0"):
        MatrixOperator(torch.eye(10)).to_dense(chunk_size=0)


def test_function_of_the_wrong_shape_is_named():
    with pytest.raises(OperatorError, match=r"returned shape \(2,\).*\(3,\)"):
        MatvecOperator(lambda v: v[:2], 3) @ torch.ones(3)
    with pytest.raises(OperatorError, match="float64"):
        MatvecOperator(lambda v: v.double(), 3) @ torch.ones(3)


@settings(max_examples=25, deadline=None)
@given(symmetric_matrices(), st.integers(0, 99), st.integers(0, 3))
def test_submatrix_is_that_of_the_matrix(A, seed, k):
    op = MatrixOperator(A)
    n = len(A)
    order = torch.randperm(n, generator=generator(seed))
    index = order[: 1 + seed % n]
    part = op.submatrix(index)
    V = torch.randn(len(index), k, generator=generator(1), dtype=F64)
    torch.testing.assert_close(part @ V, A[index][:, index] @ V)
    torch.testing.assert_close(part.to_dense(), A[index][:, index])
    half = slice(n // 2, None)
    torch.testing.assert_close(op.submatrix(half).to_dense(), A[half, half])
    again = part.submatrix(slice(None, None, 2)).shifted(2.0) + part.submatrix(slice(None, None, 2))
    chosen = index[::2]
    expected = 2 * A[chosen][:, chosen] + 2 * torch.eye(len(chosen), dtype=F64)
    torch.testing.assert_close(again.to_dense(), expected)


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (torch.tensor([0, 4]), "4 is no row.*0 to 3"),
        (torch.tensor([-1]), "-1 is no row"),
        (torch.tensor([], dtype=torch.int64), "empty"),
        (slice(4, None), "empty"),
        (torch.tensor([2, 0, 2]), "row 2 is named twice"),
    ],
)
def test_wrong_index_is_refused_with_the_way_out(index, words):
    with pytest.raises(OperatorError, match=words):
        MatrixOperator(torch.eye(4)).submatrix(index)


def test_submatrix_takes_any_integer_dtype_and_costs_one_product():
    op = Diagonal(torch.arange(6.0))
    part = op.submatrix(torch.tensor([5, 1], dtype=torch.int32))
    assert (part @ torch.ones(2)).tolist() == [5.0, 1.0]
    assert op.calls == 1


def test_a_mask_is_no_index(unchecked):
    with pytest.raises(OperatorError, match=r"torch\.bool.*mask\.nonzero"):
        MatrixOperator(torch.eye(2)).submatrix(torch.tensor([True, False]))
