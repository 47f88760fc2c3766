"""The least residual against lstsq and SciPy's minres, for singular and indefinite matrices."""

import numpy as np
import pytest
import scipy.sparse.linalg
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
    rotated,
    rotated_operator,
    symmetric_matrices,
)

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, least_residual


def right_side(n, seed=1, dtype=F64):
    return torch.randn(n, generator=generator(seed), dtype=dtype)


@settings(max_examples=30, deadline=None)
@given(symmetric_matrices(FEW_VALUES), st.integers(0, 50))
def test_whole_space_is_the_shortest_least_squares_solution(A, seed):
    n = len(A)
    b = right_side(n, seed)
    found = least_residual(MatrixOperator(A), b, num_steps=n + 2)
    expected, *_ = np.linalg.lstsq(A.numpy(), b.numpy(), rcond=1e-10)
    torch.testing.assert_close(found.x, torch.from_numpy(expected), rtol=1e-8, atol=1e-8)
    true = float((A @ found.x - b).norm() / b.norm())
    assert found.residual == pytest.approx(true, abs=1e-12)
    assert found.is_converged
    assert found.num_products <= n


@pytest.mark.parametrize("seed", range(40))
def test_one_null_direction_among_copies(seed):
    # Two distinct eigenvalues: the second step is a breakdown, whose β is rounding and yet the
    # smallest singular value. Divided by, it would make x 10¹⁰ long.
    A = rotated(torch.tensor([-2.0] * 6 + [0.0], dtype=F64), seed)
    b = right_side(7, 0)
    found = least_residual(MatrixOperator(A), b, num_steps=9)
    torch.testing.assert_close(found.x, A @ b / 4, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ["even", "outliers at both ends", "low rank, indefinite"])
@pytest.mark.parametrize("num_steps", [1, 2, 5, 11])
def test_every_step_is_the_best_of_its_krylov_space(name, num_steps):
    A, b = rotated(SPECTRA[name]), right_side(150)
    found = least_residual(MatrixOperator(A), b, num_steps=num_steps, tol=0.0)
    # The best of span{b, Ab, …} by dense least squares, from an orthonormal basis of it.
    K = b[:, None] / b.norm()
    for _ in range(num_steps - 1):
        K, _ = torch.linalg.qr(torch.cat([K, (A @ K)[:, -1:]], dim=1))
    z, *_ = np.linalg.lstsq((A @ K).numpy(), b.numpy(), rcond=None)
    best = float((A @ K @ torch.from_numpy(z) - b).norm() / b.norm())
    true = float((A @ found.x - b).norm() / b.norm())
    assert true == pytest.approx(best, rel=1e-8)
    assert found.residual == pytest.approx(true, rel=1e-8)
    assert found.num_products == num_steps


def test_agrees_with_minres():
    outliers, bulk = [50.0, 30.0, -20.0], torch.linspace(1.0, 3.0, 60)
    A, b = rotated(join(outliers, bulk, -bulk)), right_side(123)
    found = least_residual(MatrixOperator(A), b, num_steps=123, tol=1e-10)
    peer, info = scipy.sparse.linalg.minres(A.numpy(), b.numpy(), rtol=1e-13, maxiter=2000)
    assert info == 0
    assert found.is_converged
    assert float((found.x - torch.from_numpy(peer)).norm()) <= 1e-6 * float(np.linalg.norm(peer))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_right_side_in_the_null_space(dtype):
    op = rotated_operator(join(torch.zeros(10), torch.linspace(-1.0, 3.0, 40)), dtype=dtype)
    _, vectors = torch.linalg.eigh(op.to_dense())
    values = torch.linalg.eigvalsh(op.to_dense())
    null = vectors[:, values.abs().argsort()[:10]] @ torch.ones(10, dtype=dtype)
    found = least_residual(op, null, num_steps=20, rcond=1e-3)
    assert float(found.x.norm()) <= 1e-2
    assert found.residual == pytest.approx(1.0, abs=1e-3)
    exact = least_residual(
        MatrixOperator(torch.diag(torch.tensor([0.0, 2.0, -1.0]))),
        torch.tensor([5.0, 0.0, 0.0]),
        num_steps=1,
    )
    assert exact.x.tolist() == [0.0, 0.0, 0.0]
    assert exact.residual == 1.0


def test_inconsistent_system_keeps_the_part_in_the_null_space():
    d = join(torch.zeros(3), [2.0, -1.0, 4.0])
    b = torch.tensor([1.0, 2.0, 2.0, 2.0, 3.0, 8.0], dtype=F64)
    found = least_residual(MatrixOperator(torch.diag(d)), b, num_steps=6)
    assert found.x.tolist() == pytest.approx([0.0, 0.0, 0.0, 1.0, -3.0, 2.0])
    assert found.residual == pytest.approx(3.0 / float(b.norm()))
    assert found.is_converged


def test_negative_curvature_where_there_is_some():
    A = rotated(join([-2.0], torch.linspace(1.0, 4.0, 49)))
    found = least_residual(MatrixOperator(A), right_side(50), num_steps=20, tol=0.0)
    d = found.negative_curvature
    assert float(d.norm()) == pytest.approx(1.0)
    assert float(d @ A @ d) == pytest.approx(found.curvature, rel=1e-9)
    assert found.curvature == pytest.approx(-2.0, rel=1e-3)
    positive = least_residual(
        rotated_operator(join(torch.zeros(10), torch.linspace(1.0, 4.0, 40))),
        right_side(50),
        num_steps=50,
    )
    assert positive.negative_curvature is None
    assert positive.curvature is None


def test_stops_by_itself():
    op = Diagonal(torch.linspace(1.0, 2.0, 500, dtype=F64))
    found = least_residual(op, right_side(500), num_steps=100)
    assert found.is_converged
    assert found.num_products == op.calls <= 12
    short = least_residual(op, right_side(500), num_steps=2)
    assert not short.is_converged
    assert short.num_products == 2


def test_rcond_cuts_small_curvature():
    d = torch.tensor([1.0, 1e-4, -0.5], dtype=F64)
    b = torch.ones(3, dtype=F64)
    op = MatrixOperator(torch.diag(d))
    full = least_residual(op, b, num_steps=3, tol=0.0)
    assert full.x.tolist() == pytest.approx([1.0, 1e4, -2.0], rel=1e-9)
    cut = least_residual(op, b, num_steps=3, tol=0.0, rcond=1e-2)
    assert cut.x.tolist() == pytest.approx([1.0, 0.0, -2.0], abs=1e-9)


def test_residual_carries_rounding_and_zero_is_solved():
    op = rotated_operator(torch.logspace(-5, 0, 60, dtype=F64), dtype=torch.float32)
    b = right_side(60, dtype=torch.float32)
    found = least_residual(op, b, num_steps=60, tol=0.0)
    true = (op.to_dense().double() @ found.x.double() - b.double()).norm() / b.double().norm()
    assert float(true) <= found.residual
    zero = least_residual(op, torch.zeros(60), num_steps=5)
    assert zero.is_converged
    assert zero.num_products == 0


def test_wrong_arguments_are_refused():
    op = MatrixOperator(torch.eye(3))
    with pytest.raises(OperatorError, match=r"least_residual.*NaN"):
        least_residual(op, torch.tensor([1.0, float("inf"), 0.0]), num_steps=2)
    with pytest.raises(OperatorError, match="at least one step"):
        least_residual(op, torch.ones(3), num_steps=0)
    with pytest.raises(OperatorError, match=r"shape \(4,\)"):
        least_residual(op, torch.ones(4), num_steps=2)
