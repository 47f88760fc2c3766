"""An operator of any shape multiplies from both sides like the matrix it stands for."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from spectra import F64, generator

from thalweg._errors import OperatorError
from thalweg.linalg import LinearOperator, eigenpairs


class Matrix(LinearOperator):
    def __init__(self, A):
        super().__init__(tuple(A.shape), A.dtype, A.device)
        self.A, self.calls = A, 0

    def _apply(self, V):
        self.calls += V.shape[1]
        return self.A @ V

    def _apply_adjoint(self, U):
        self.calls += U.shape[1]
        return self.A.T @ U


def drawn(m, n):
    return torch.randn(m, n, generator=generator(1), dtype=F64)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 2)])
@pytest.mark.parametrize("k", [0, 1, 3])
def test_products_from_both_sides(shape, k):
    A, (m, n) = drawn(*shape), shape
    op, V, U = Matrix(A), drawn(n, k), drawn(m, k)
    assert torch.equal(op @ V, A @ V)
    assert torch.equal(op.T @ U, A.T @ U)
    assert op.T.T is op
    assert (op.shape, op.T.shape) == (shape, shape[::-1])
    assert (op @ torch.ones(n, dtype=F64)).shape == (m,)
    torch.testing.assert_close(op.gram() @ V, A.T @ A @ V)
    torch.testing.assert_close(op.T.gram() @ U, A @ A.T @ U)


@pytest.mark.parametrize("shape", [(7, 5), (5, 7)])
def test_dense_takes_the_shorter_side(shape):
    A = drawn(*shape)
    for op, dense in ((Matrix(A), A), (Matrix(A).T, A.T)):
        assert torch.equal(op.to_dense(chunk_size=2), dense)
    op = Matrix(A)
    op.to_dense()
    assert op.calls == 5


def test_the_gram_operators_have_one_spectrum():
    """The nonzero eigenvalues of AᵀA and AAᵀ are the squared singular values."""
    A = drawn(20, 6)
    squares = torch.linalg.svdvals(A).square()[:2]
    for gram in (Matrix(A).gram(), Matrix(A).T.gram()):
        values = eigenpairs(gram, 2, generator=generator()).values
        torch.testing.assert_close(values.sort(descending=True).values, squares)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_scipy_takes_it_for_svds_and_lsqr(dtype):
    A = drawn(12, 5).to(dtype)
    linear = Matrix(A).to_scipy()
    assert linear.dtype == A.numpy().dtype
    largest = scipy.sparse.linalg.svds(linear, k=2, return_singular_vectors=False)
    assert sorted(largest) == pytest.approx(sorted(torch.linalg.svdvals(A)[:2].tolist()), rel=1e-4)
    b = np.ones(12, dtype=linear.dtype)
    x = scipy.sparse.linalg.lsqr(linear, b, atol=1e-7, btol=1e-7)[0]
    assert x == pytest.approx(np.linalg.lstsq(A.numpy(), b, rcond=None)[0], rel=1e-3, abs=1e-4)
    block = np.eye(5, dtype=linear.dtype)[:, :2]
    assert np.array_equal(linear @ block, A.numpy()[:, :2])


def test_products_record_no_graph():
    weight = torch.ones(2, 3, requires_grad=True)
    op = Matrix(weight)
    for product in (op @ torch.ones(3), op.T @ torch.ones(2), op.gram() @ torch.ones(3)):
        assert not product.requires_grad


@pytest.mark.parametrize(
    ("factor", "words"),
    [
        (torch.ones(3), r"shape \(3,\).*takes \(4,\).*give v with 4 rows"),
        (torch.ones(4, 1, 1), r"shape \(4, 1, 1\)"),
        (torch.ones(4, dtype=F64), r"float64.*takes torch\.float32.*v\.to\(op\.dtype\)"),
        (np.ones(4), r"v is a ndarray.*to_scipy"),
    ],
)
def test_wrong_factor_is_refused_with_the_way_out(factor, words, unchecked):
    with pytest.raises(OperatorError, match=words):
        Matrix(torch.ones(2, 4)) @ factor


def test_what_is_no_operator_or_does_not_fit_is_refused():
    with pytest.raises(OperatorError, match=r"shape=\(0, 2\)"):
        Matrix(torch.ones(0, 2))
    with pytest.raises(OperatorError, match="floating"):
        Matrix(torch.ones(2, 2, dtype=torch.int64))
    with pytest.raises(OperatorError, match=r"max_bytes=31.*takes 32 bytes.*op\.T @ u"):
        Matrix(torch.ones(2, 4)).to_dense(max_bytes=31)
    with pytest.raises(OperatorError, match="chunk_size=0"):
        Matrix(torch.ones(2, 4)).to_dense(chunk_size=0)
