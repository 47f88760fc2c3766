"""Lanczos: the recurrence it claims, the basis it returns, the breakdown it reports."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from spectra import F64, SPECTRA, generator, join, rotated, symmetric_matrices

from thalweg._errors import OperatorError
from thalweg.linalg import MatrixOperator, MatvecOperator, lanczos
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._lanczos import LanczosRun, extend_together


def tridiagonal(found):
    beside = found.betas[:-1]
    return torch.diag(found.alphas) + torch.diag(beside, 1) + torch.diag(beside, -1)


@pytest.mark.parametrize("name", SPECTRA)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_basis_is_orthonormal_and_reduces_the_matrix(name, dtype):
    A = rotated(SPECTRA[name]).to(dtype)
    found = lanczos(MatrixOperator(A), torch.randn(150, generator=generator(1), dtype=dtype), 80)
    m = len(found.alphas)
    Q, T = found.basis, tridiagonal(found)
    eps, scale = torch.finfo(dtype).eps, float(A.abs().sum(1).max())
    # m rounding errors of Gram-Schmidt add up in the Frobenius norm; 10 covers their constants.
    assert float((Q.T @ Q - torch.eye(m, dtype=dtype)).norm()) <= 10 * m * eps
    rest = A @ Q - Q @ T
    assert float(rest[:, :-1].norm()) <= 10 * m * eps * scale
    assert float(rest[:, -1].norm()) == pytest.approx(
        float(found.betas[-1]), rel=1e-4, abs=10 * m * eps * scale
    )
    assert found.defect <= 10 * m * eps * scale
    assert found.num_products == m


@settings(max_examples=30, deadline=None)
@given(symmetric_matrices(), st.integers(0, 50))
def test_a_run_to_its_end_finds_only_eigenvalues(A, seed):
    n = len(A)
    found = lanczos(MatrixOperator(A), torch.randn(n, generator=generator(seed), dtype=F64), n)
    values = torch.linalg.eigvalsh(tridiagonal(found))
    true = torch.linalg.eigvalsh(A)
    assert found.is_invariant
    distance = (values[:, None] - true).abs().min(dim=1).values
    assert float(distance.max()) <= 1e-12 * max(1.0, float(true.abs().max()))


@pytest.mark.parametrize(
    ("eigenvalues", "dimension"),
    [
        (torch.ones(100), 1),
        (torch.zeros(100), 1),
        (join([3.0] * 40, [1.0] * 60), 2),
        (join([3.0, 2.0, 1.0], torch.zeros(97)), 4),
    ],
)
def test_breakdown_comes_with_the_number_of_distinct_eigenvalues(eigenvalues, dimension):
    op = MatrixOperator(rotated(eigenvalues))
    found = lanczos(op, torch.randn(100, generator=generator(2), dtype=F64), 50)
    assert found.is_invariant
    assert len(found.alphas) == dimension
    assert found.num_products == dimension


def test_start_in_an_invariant_subspace_stays_there():
    A = torch.diag(torch.arange(1.0, 6.0, dtype=F64))
    found = lanczos(MatrixOperator(A), torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0], dtype=F64), 5)
    assert found.alphas.tolist() == [2.0]
    assert found.is_invariant


def test_first_numbers_by_hand():
    # q₁ = e₁; A e₁ = (2, 1, 0): α₁ = 2, β₁ = 1, q₂ = e₂; A e₂ = (1, 3, 4): α₂ = 3, β₂ = 4.
    A = torch.tensor([[2.0, 1.0, 0.0], [1.0, 3.0, 4.0], [0.0, 4.0, 5.0]], dtype=F64)
    found = lanczos(MatrixOperator(A), torch.tensor([7.0, 0.0, 0.0], dtype=F64), 2)
    assert found.alphas.tolist() == [2.0, 3.0]
    assert found.betas.tolist() == [1.0, 4.0]
    assert found.basis.abs().tolist() == [[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]
    assert not found.is_invariant


def test_defect_measures_asymmetry():
    A = rotated(SPECTRA["even"])
    skew = torch.zeros(150, 150, dtype=F64)
    skew[0, 1], skew[1, 0] = 0.1, -0.1
    start = torch.randn(150, generator=generator(3), dtype=F64)
    found = lanczos(MatvecOperator(lambda v: (A + skew) @ v, 150, dtype=F64), start, 40)
    Q, T = found.basis, tridiagonal(found)
    true = float((Q.T @ (A + skew) @ Q - T).norm())
    assert found.defect == pytest.approx(true, rel=1e-6)
    assert true > 1e-3


def test_wrong_arguments_are_refused():
    op = MatrixOperator(torch.eye(3))
    with pytest.raises(OperatorError, match="num_steps=0"):
        lanczos(op, torch.ones(3), 0)
    with pytest.raises(OperatorError, match="zero vector"):
        lanczos(op, torch.zeros(3), 2)
    with pytest.raises(OperatorError, match=r"shape \(4,\)"):
        lanczos(op, torch.ones(4), 2)


def test_nan_is_named_with_its_product():
    calls = []

    def multiply(v):
        calls.append(v)
        d = torch.arange(1.0, 11.0)
        return d * v if len(calls) < 4 else d * v * float("nan")

    with pytest.raises(OperatorError, match=r"lanczos: product 4 of this run is NaN"):
        lanczos(MatvecOperator(multiply, 10), torch.ones(10), 8)


def test_overflow_of_a_square_is_named():
    op = MatvecOperator(lambda v: 1e30 * torch.arange(1.0, 11.0) * v, 10)
    with pytest.raises(OperatorError, match=r"overflows torch\.float32"):
        lanczos(op, torch.ones(10), 8)


def test_runs_side_by_side_are_the_runs_alone() -> None:
    # The second start spans an invariant space of two vectors: its run ends before the others.
    op = MatrixOperator(torch.diag(torch.arange(1.0, 31.0, dtype=torch.float64)))
    generator = torch.Generator().manual_seed(0)
    starts = torch.randn(3, 30, generator=generator, dtype=torch.float64)
    starts[1, 2:] = 0.0
    counted = CountedOperator(op, "test")
    runs = [LanczosRun(counted, start) for start in starts]
    extend_together(counted, runs, 8)
    for run, start in zip(runs, starts, strict=True):
        alone = lanczos(op, start, 8)
        assert run.is_invariant == alone.is_invariant
        assert run.alphas == pytest.approx(alone.alphas.tolist(), rel=1e-12)
        assert run.betas == pytest.approx(alone.betas.tolist(), rel=1e-9, abs=1e-12)
    assert counted.num_products == 8 + 2 + 8
