"""The least residual over a Krylov space, for singular and indefinite matrices too."""

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg.linalg._conjugate_gradient import check_right_side
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._ritz import ritz_pairs
from thalweg.linalg._solution import Solution


def least_residual(
    op: SymmetricOperator,
    b: Float[Tensor, "n"],
    *,
    num_steps: int,
    tol: float = 1e-6,
    rcond: float | None = None,
) -> Solution:
    """Minimise ‖A x − b‖ over the Krylov space of b; of all minimisers take the shortest.

        x = Q z,   z = argmin ‖β₁e₁ − T̃ z‖,   A Q_m = Q_{m+1} T̃,   β₁ = ‖b‖

    A may be indefinite or singular. If no x solves the system, this is the least-squares
    solution of minimum norm once the Krylov space is exhausted; a b in the null space gives
    x = 0 (from two steps on: one step of pure rounding shows no ‖A‖ to be small against).

    Args:
        op: Symmetric n×n operator.
        b: Right side, shape (n,).
        num_steps: Most Lanczos steps.
        tol: Stop early at ‖A x − b‖ ≤ tol·‖b‖.
        rcond: Singular values of T̃ below rcond·σ_max count as 0; those below the run's own
            rounding when left out. A direction that lowers the residual by less than rounding
            is left out in any case.

    Returns:
        `Solution`, x in [b's unit / the operator's unit]. `negative_curvature` is the Ritz
        vector of the most negative Ritz value, None where that is ≥ 0 to rounding.
        `is_converged` says that tol was reached or that the Krylov space is exhausted.

    Raises:
        OperatorError: b does not fit the operator or is not finite, tol below 0, num_steps
            below 1; a product is NaN or infinite.

    Cost: one product a step; m vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, least_residual
        >>> op = MatrixOperator(torch.diag(torch.tensor([2.0, -1.0, 0.0])))
        >>> solution = least_residual(op, torch.tensor([2.0, 1.0, 1.0]), num_steps=3)
        >>> torch.allclose(solution.x, torch.tensor([1.0, -1.0, 0.0]), atol=1e-5)
        True

    Source: the minimiser is that of MINRES (Paige and Saunders 1975) and, where A is singular,
    of MINRES-QLP (Choi, Paige and Saunders 2011, SIAM J. Sci. Comput. 33). We reach it by other
    means: full reorthogonalisation and a truncated singular value decomposition of the small
    T̃, not short recurrences, which costs m vectors and loses no accuracy to them.
    """
    op.check_factor(b)
    check_right_side("least_residual", b, tol, num_steps)
    b = b.detach()
    counted = CountedOperator(op, "least_residual")
    norm_b = float(torch.linalg.vector_norm(b))
    if norm_b == 0.0:
        return Solution(torch.zeros_like(b), 0.0, None, None, True, 0)
    run = LanczosRun(counted, b)
    while True:
        run.extend(min(max(3, run.num_steps // 8), num_steps - run.num_steps))
        z, residual = _least_squares(run, rcond)
        if residual <= tol or run.is_invariant or run.num_steps >= num_steps:
            break
    direction, curvature = _most_negative(run)
    return Solution(
        x=norm_b * run.basis.combine(torch.from_numpy(z)[:, None])[:, 0],
        residual=residual,
        negative_curvature=direction,
        curvature=curvature,
        is_converged=residual <= tol or run.is_invariant,
        num_products=run.num_products,
        route=op.said,
    )


def _least_squares(run: LanczosRun, rcond: float | None) -> tuple[Float64[np.ndarray, "m"], float]:
    """Return the shortest z that minimises ‖e₁ − T̃ z‖, and that norm with its rounding."""
    m = run.num_steps
    T = np.zeros((m + 1, m))
    T[range(m), range(m)] = run.alphas
    T[range(1, m + 1), range(m)] = run.betas
    T[range(m - 1), range(1, m)] = run.betas[:-1]
    first = np.zeros(m + 1)
    first[0] = 1.0
    U, sigma, Vh = np.linalg.svd(T)
    gain, remainder = U[0, :m], abs(U[0, m])
    # A perturbation of the size of rounding turns the i-th left vector towards the residual by
    # rounding/σᵢ: a gain below that is noise, and noise/σᵢ must not enter z.
    is_seen = np.abs(gain) * sigma > run.rounding * remainder
    is_kept = is_seen & (sigma > (run.rounding if rcond is None else rcond * sigma[0]))
    z = Vh[is_kept].T @ (gain[is_kept] / sigma[is_kept])
    rest, length = float(np.linalg.norm(first - T @ z)), float(np.linalg.norm(z))
    return z, rest + run.rounding * length


def _most_negative(run: LanczosRun) -> tuple[Float[Tensor, "n"] | None, float | None]:
    """Return the Ritz vector of the smallest Ritz value and that value, if it is negative."""
    ritz = ritz_pairs(run)
    if ritz.values[0] >= -run.rounding:
        return None, None
    direction = run.basis.combine(torch.from_numpy(ritz.coefficients[:, :1].copy()))[:, 0]
    return direction / torch.linalg.vector_norm(direction), float(ritz.values[0])
