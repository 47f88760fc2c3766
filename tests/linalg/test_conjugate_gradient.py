"""Conjugate gradients against a direct solve, and where the matrix is not positive."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, Diagonal, generator, join, rotated, rotated_operator

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, conjugate_gradient


def right_side(n, seed=1, dtype=F64):
    return torch.randn(n, generator=generator(seed), dtype=dtype)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(0.1, 10.0), min_size=1, max_size=12), st.integers(0, 50), st.integers(0, 50)
)
def test_positive_definite_systems(eigenvalues, seed, other_seed):
    A = rotated(torch.tensor(eigenvalues, dtype=F64), seed)
    b = right_side(len(A), other_seed)
    found = conjugate_gradient(MatrixOperator(A), b, tol=1e-10)
    assert found.is_converged
    assert found.negative_curvature is None
    assert found.curvature is None
    true = float((A @ found.x - b).norm() / b.norm())
    assert true <= found.residual <= 1e-10
    # ‖x − A⁻¹b‖ ≤ ‖r‖/λ_min
    exact = torch.linalg.solve(A, b)
    assert float((found.x - exact).norm()) <= 1e-10 * float(b.norm()) / min(eigenvalues) + 1e-12
    assert found.num_products <= 2 * len(A)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_residual_is_never_better_than_rounding(dtype):
    op = rotated_operator(torch.logspace(-6, 0, 60, dtype=F64), dtype=dtype)
    b = right_side(60, dtype=dtype)
    found = conjugate_gradient(op, b, tol=0.0, max_steps=500)
    A = op.to_dense().double()
    true = float((A @ found.x.double() - b.double()).norm() / b.double().norm())
    assert true <= found.residual
    assert not found.is_converged


def test_as_many_steps_as_distinct_eigenvalues():
    op = Diagonal(torch.tensor([1.0, 2.0, 5.0], dtype=F64).repeat(20))
    found = conjugate_gradient(op, right_side(60), tol=1e-12)
    assert found.is_converged
    assert found.num_products == op.calls == 3


def test_first_step_by_hand():
    # r = p = b = (1, 1); pᵀAp = 3, α = 2/3: x = (2/3, 2/3), r = (1/3, −1/3), ‖r‖/‖b‖ = 1/3.
    op = MatrixOperator(torch.diag(torch.tensor([1.0, 2.0], dtype=F64)))
    found = conjugate_gradient(op, torch.ones(2, dtype=F64), max_steps=1)
    assert found.x.tolist() == pytest.approx([2 / 3, 2 / 3])
    assert found.residual == pytest.approx(1 / 3)
    assert not found.is_converged
    assert found.num_products == 1


@pytest.mark.parametrize("lowest", [-5.0, -0.1, -1e-6])
def test_negative_curvature_is_found_and_true(lowest):
    A = rotated(join([lowest], torch.linspace(1.0, 4.0, 29)))
    found = conjugate_gradient(MatrixOperator(A), right_side(30), tol=1e-12)
    d = found.negative_curvature
    assert d is not None
    assert float(d.norm()) == pytest.approx(1.0)
    assert found.curvature < 0
    assert float(d @ A @ d) == pytest.approx(found.curvature, rel=1e-6)
    assert not found.is_converged
    # The iterate before it still lowers ½xᵀAx − bᵀx.
    x = found.x
    assert float(x @ A @ x / 2 - right_side(30) @ x) <= 0.0


def test_negative_definite_at_once():
    op = MatrixOperator(-torch.eye(3, dtype=F64))
    b = torch.tensor([3.0, 0.0, 4.0], dtype=F64)
    found = conjugate_gradient(op, b)
    assert found.x.tolist() == [0.0, 0.0, 0.0]
    assert found.negative_curvature.tolist() == pytest.approx([0.6, 0.0, 0.8])
    assert found.curvature == pytest.approx(-1.0)
    assert found.residual == pytest.approx(1.0)
    assert found.num_products == 1


def test_singular_matrix():
    op = rotated_operator(join(torch.zeros(5), torch.linspace(1.0, 3.0, 25)))
    A = op.to_dense()
    inside = A @ right_side(30)
    found = conjugate_gradient(op, inside, tol=1e-10)
    assert found.is_converged
    torch.testing.assert_close(found.x, torch.linalg.pinv(A, rtol=1e-10) @ inside)
    # A right side with a part in the null space ends in a direction without curvature.
    outside = conjugate_gradient(op, right_side(30), tol=1e-10)
    d = outside.negative_curvature
    assert d is not None
    assert abs(outside.curvature) <= 1e-13
    assert float((A @ d).norm()) <= 1e-6


def test_curvature_of_rounding_size_counts_as_none():
    # p₀ = (1, 1), α = 2, x = (2, 2), r = (−1, 1), p₁ = (0, 2): a step along e₂ would be 10¹⁸ long.
    op = MatrixOperator(torch.diag(torch.tensor([1.0, 1e-18], dtype=F64)))
    found = conjugate_gradient(op, torch.ones(2, dtype=F64), max_steps=10)
    assert found.negative_curvature.tolist() == [0.0, 1.0]
    assert found.x.tolist() == pytest.approx([2.0, 2.0])
    assert found.num_products == 2


def test_zero_matrix_and_zero_right_side():
    found = conjugate_gradient(MatrixOperator(torch.zeros(3, 3)), torch.ones(3))
    assert found.curvature == 0.0
    assert found.x.tolist() == [0.0, 0.0, 0.0]
    none = conjugate_gradient(MatrixOperator(torch.eye(3)), torch.zeros(3))
    assert none.is_converged
    assert none.num_products == 0
    assert none.residual == 0.0


def test_wrong_arguments_are_refused():
    op = MatrixOperator(torch.eye(3))
    with pytest.raises(OperatorError, match=r"conjugate_gradient.*NaN"):
        conjugate_gradient(op, torch.tensor([1.0, float("nan"), 0.0]))
    with pytest.raises(OperatorError, match="tol=-1"):
        conjugate_gradient(op, torch.ones(3), tol=-1.0)
    with pytest.raises(OperatorError, match="at least one step"):
        conjugate_gradient(op, torch.ones(3), max_steps=0)
    with pytest.raises(OperatorError, match=r"shape \(4,\)"):
        conjugate_gradient(op, torch.ones(4))
