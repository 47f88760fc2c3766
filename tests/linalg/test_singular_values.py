"""Singular values by products, against LAPACK."""

import numpy as np
import pytest
import torch

from thalweg import OperatorError
from thalweg.linalg import from_products, singular_values


def operator(M):
    return from_products(lambda v: M @ v, lambda u: M.T @ u, tuple(M.shape), dtype=M.dtype)


def matrix(m, n, seed=0):
    return torch.randn(m, n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def graded(m, n, last):
    """Singular values from 1 down to `last`, evenly in the logarithm."""
    k = min(m, n)
    U, _ = torch.linalg.qr(matrix(m, k))
    V, _ = torch.linalg.qr(matrix(n, k, seed=1))
    return U * torch.logspace(0, np.log10(last), k, dtype=torch.float64) @ V.T


def found(M, k=3, **settings):
    return singular_values(operator(M), k, generator=torch.Generator().manual_seed(3), **settings)


@pytest.mark.parametrize("shape", [(30, 30), (40, 17), (17, 40), (1, 5), (5, 1)])
@pytest.mark.parametrize("dense_up_to", [0, 256])
def test_all_of_them_after_as_many_steps_as_the_shorter_side(shape, dense_up_to):
    M = matrix(*shape)
    k = min(shape)
    result = found(M, k, dense_up_to=dense_up_to, max_steps=k)
    exact = np.linalg.svd(M.numpy(), compute_uv=False)
    assert result.is_exhausted
    np.testing.assert_allclose(result.largest.values.numpy(), exact, rtol=0, atol=1e-12 * exact[0])
    np.testing.assert_allclose(result.smallest.values.numpy(), exact, rtol=0, atol=1e-12 * exact[0])
    u, v, s = result.largest.left, result.largest.right, result.largest.values
    torch.testing.assert_close(M @ v, u * s, rtol=0, atol=1e-12 * float(s[0]))
    torch.testing.assert_close(u.T @ u, torch.eye(k, dtype=torch.float64))


def test_the_bounds_hold_before_it_has_converged():
    M = matrix(300, 200)
    exact = torch.linalg.svdvals(M)
    for steps in (8, 20, 60):
        result = found(M, 4, dense_up_to=0, max_steps=steps, tol=1e-14)
        assert not result.is_exhausted
        assert not result.largest.is_converged
        for ends in (result.largest, result.smallest):
            for value, bound in zip(ends.values, ends.residuals, strict=True):
                assert (exact - value).abs().min() <= bound
        # Those of the bidiagonal matrix lie between the ends.
        assert result.largest.values[0] <= exact[0] + 1e-12
        assert result.smallest.values[-1] >= exact[-1] - 1e-12
        true = (M @ result.largest.right - result.largest.left * result.largest.values).norm(dim=0)
        assert (true <= result.largest.residuals).all()


def test_small_ones_are_not_squared_away():
    """σ_min = 1e-12 σ_max: from AᵀA in float64 it would be lost in rounding."""
    result = found(graded(60, 40, 1e-12), 1, dense_up_to=0, max_steps=40, tol=1e-15)
    assert float(result.smallest.values[0]) == pytest.approx(1e-12, rel=1e-2)
    assert result.condition == pytest.approx(1e12, rel=1e-2)


def test_a_matrix_without_full_rank_runs_on_to_its_zeros():
    M = matrix(30, 3) @ matrix(3, 20, seed=1)
    result = found(M, 5, dense_up_to=0, max_steps=20)
    exact = torch.linalg.svdvals(M)
    torch.testing.assert_close(result.largest.values, exact[:5], rtol=0, atol=1e-11)
    assert (result.smallest.values < 1e-11).all()
    zero = found(torch.zeros(9, 7, dtype=torch.float64), 2, dense_up_to=0)
    assert (zero.largest.values == 0).all()


def test_what_cannot_be_asked():
    with pytest.raises(OperatorError, match="whole numbers of 1 or more"):
        found(matrix(3, 3), 0)
    with pytest.raises(OperatorError, match="NaN or infinite"):
        found(torch.full((3, 3), torch.nan), 1)
