"""What holds for every symmetric operator, wherever it comes from: one table, one suite."""

import numpy as np
import pytest
import torch

from problems import SHELF, cut, draw
from thalweg import OperatorError, Surface, from_curvlinops, from_matvec
from thalweg.linalg import BlockDiagonalOperator, MatrixOperator, load, save
from thalweg.surface import FiniteDifference, RebuiltGraph, RetainedGraph, Taped

F64 = torch.float64
# Sums of some hundred numbers of size one.
TIGHT = {"rtol": 1e-9, "atol": 1e-10}


def point(name="conv"):
    known = SHELF[name]()
    return Surface(known.problem.with_data(cut(known.problem.data, 5, 2))).here()


def matrix(n=9):
    A = draw(n, n)
    return A + A.T


class Foreign:
    """As curvlinops' operators look from outside."""

    def __init__(self, A):
        self.A, self.shape, self.dtype, self.device = A, tuple(A.shape), A.dtype, A.device

    def __matmul__(self, v):
        return self.A @ v


OPERATORS = {
    "hessian": lambda: point().hessian(),
    "hessian, graph kept": lambda: point().hessian(RetainedGraph()),
    "hessian, graph rebuilt": lambda: point().hessian(RebuiltGraph()),
    "hessian, on tape": lambda: point().hessian(Taped()),
    "hessian of tokens": lambda: point("next_token").hessian(),
    "ggn": lambda: point().ggn(),
    "ggn, on tape": lambda: point().ggn(Taped()),
    "fisher": lambda: point().fisher(),
    "fisher, on tape": lambda: point().fisher(Taped()),
    "empirical fisher": lambda: point().empirical_fisher(),
    "JᵀJ": lambda: point().jacobian().gram(),
    "JJᵀ": lambda: point().jacobian().T.gram(),
    "one layer": lambda: point().restricted("head.*").hessian(),
    "blocks": lambda: BlockDiagonalOperator([part.hessian() for part in point().blocks().values()]),
    "submatrix": lambda: point().hessian().submatrix(torch.tensor([3, 0, 7, 40])),
    "sum": lambda: point().hessian() + 0.5 * point().ggn(),
    "difference, shifted": lambda: (point().hessian() - point().ggn()).shifted(0.3),
    "matrix": lambda: MatrixOperator(matrix()),
    "function": lambda: from_matvec(lambda v: matrix() @ v, 9, dtype=F64),
    "foreign": lambda: from_curvlinops(Foreign(matrix())),
}


@pytest.fixture(params=OPERATORS, scope="module")
def op(request):
    return OPERATORS[request.param]()


@pytest.fixture
def vectors(op):
    u, v, w = draw(3, op.size, seed=8)
    return u, v, w


def test_symmetric(op, vectors):
    u, v, _ = vectors
    torch.testing.assert_close(u @ (op @ v), v @ (op @ u), **TIGHT)


def test_linear(op, vectors):
    u, v, _ = vectors
    torch.testing.assert_close(op @ (2.0 * u - 3.0 * v), 2.0 * (op @ u) - 3.0 * (op @ v), **TIGHT)
    assert not (op @ torch.zeros_like(u)).any()


def test_a_block_is_its_columns(op, vectors):
    V = torch.stack(vectors, 1)
    torch.testing.assert_close(op @ V, torch.stack([op @ v for v in vectors], 1), **TIGHT)
    assert (op @ V[:, :0]).shape == (op.size, 0)
    # Neither contiguity nor the caller's modes matter.
    with torch.inference_mode():
        inside = op @ V.T.contiguous().T
    torch.testing.assert_close(inside, op @ V, **TIGHT)


def test_the_same_twice_to_the_bit(op, vectors):
    v = vectors[0]
    before = v.clone()
    assert torch.equal(op @ v, op @ v)
    assert torch.equal(v, before)


def test_products_are_plain_vectors_of_its_own_kind(op, vectors):
    product = op @ vectors[0].requires_grad_()
    assert (product.shape, product.dtype, product.device) == ((op.size,), op.dtype, op.device)
    assert not product.requires_grad
    product.zero_()  # and nobody else's
    assert (op @ vectors[1]).abs().sum() > 0


def test_dense_and_scipy_are_the_same_matrix(op, vectors):
    A, v = op.to_dense(), vectors[0]
    torch.testing.assert_close(A, A.T, rtol=0, atol=0)
    torch.testing.assert_close(A @ v, op @ v, **TIGHT)
    np.testing.assert_allclose(op.to_scipy() @ v.numpy(), (A @ v).numpy(), rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(op.to_dense(chunk_size=op.size), op.to_dense(chunk_size=1), **TIGHT)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda n: torch.ones(n + 1, dtype=F64),
        lambda n: torch.ones(n, dtype=torch.float32),
        lambda n: torch.ones(n, 1, 1, dtype=F64),
    ],
)
def test_what_does_not_fit_is_refused(op, wrong):
    with pytest.raises(OperatorError, match=r"op @ v"):
        op @ wrong(op.size)


def test_differences_of_gradients_are_nearly_an_operator():
    """Not linear to rounding, and so not in the table: errors of 1e-6, see FiniteDifference."""
    op, exact = point().hessian(FiniteDifference()), point().hessian()
    u, v = draw(2, op.size, seed=8)
    assert u @ (op @ v) == pytest.approx(float(v @ (op @ u)), rel=1e-5, abs=1e-5)
    torch.testing.assert_close(op @ v, exact @ v, rtol=1e-5, atol=1e-6)


def test_results_of_any_operator_are_kept(op, tmp_path, generator):
    from thalweg import eigenpairs

    found = eigenpairs(op, 2, generator=generator)
    kept = load(save(found, tmp_path / "pairs.npz"))
    assert torch.equal(kept.vectors, found.vectors)
