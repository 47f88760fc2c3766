"""Conjugate gradients, which stop where the matrix is not positive."""

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._solution import Solution

_ROUNDINGS = 10.0


def conjugate_gradient(
    op: SymmetricOperator,
    b: Float[Tensor, "n"],
    *,
    tol: float = 1e-6,
    max_steps: int | None = None,
) -> Solution:
    """Solve A x = b for a positive definite A, or find a direction where it is not.

        α = rᵀr/pᵀAp,   x ← x + αp,   r ← r − αAp,   p ← r + (r₊ᵀr₊/rᵀr) p

    Starts from x = 0. Stops when ‖r‖ ≤ tol·‖b‖, when pᵀAp ≤ 0 to rounding (then x is the iterate
    before that direction and p/‖p‖ is handed back), or after max_steps. Where A is singular and
    no x solves the system, the iterates grow without bound: use `least_residual` there.

    Args:
        op: Symmetric n×n operator.
        b: Right side, shape (n,).
        tol: Wanted ‖A x − b‖/‖b‖.
        max_steps: Most steps; min(2n, 1000) when left out.

    Returns:
        `Solution`, x in [b's unit / the operator's unit].

    Raises:
        OperatorError: b does not fit the operator or is not finite, tol or max_steps below 0;
            a product is NaN or infinite.

    Cost: one product a step; four vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, conjugate_gradient
        >>> op = MatrixOperator(torch.diag(torch.tensor([1.0, 2.0])))
        >>> conjugate_gradient(op, torch.tensor([1.0, 1.0])).x
        tensor([1.0000, 0.5000])

    Source: Hestenes and Stiefel 1952; the stop at negative curvature is Steihaug 1983,
    SIAM J. Numer. Anal. 20, without the walk to the trust-region boundary, which is the
    caller's. We differ: curvature below 10 ε ‖A‖ (the largest ‖Ap‖/‖p‖ met) counts as none, and
    the residual carries the rounding that the recurrence for r does not see (Greenbaum 1997).
    """
    op.check_factor(b)
    limit = min(2 * op.size, 1000) if max_steps is None else max_steps
    check_right_side("conjugate_gradient", b, tol, limit)
    counted = CountedOperator(op, "conjugate_gradient")
    b = b.detach()
    eps = torch.finfo(op.dtype).eps
    x, r = torch.zeros_like(b), b.clone()
    p = r
    norm_b = float(torch.linalg.vector_norm(b))
    norm_r, scale, largest_x = norm_b, 0.0, 0.0
    flat: Tensor | None = None
    curvature: float | None = None

    def floor() -> float:
        return _ROUNDINGS * eps * scale * largest_x

    while norm_r > max(tol * norm_b, floor()) and counted.num_products < limit:
        Ap = counted @ p
        norm_p = float(torch.linalg.vector_norm(p))
        scale = max(scale, float(torch.linalg.vector_norm(Ap)) / norm_p)
        curvature_p = float(p @ Ap) / norm_p**2
        if curvature_p <= _ROUNDINGS * eps * scale:
            flat, curvature = p / norm_p, curvature_p
            break
        alpha = (norm_r / norm_p) ** 2 / curvature_p
        x = x + alpha * p
        r = r - alpha * Ap
        norm_before, norm_r = norm_r, float(torch.linalg.vector_norm(r))
        p = r + (norm_r / norm_before) ** 2 * p
        largest_x = max(largest_x, float(torch.linalg.vector_norm(x)))
    residual = (norm_r + floor()) / norm_b if norm_b > 0 else 0.0
    return Solution(
        x=x,
        residual=residual,
        negative_curvature=flat,
        curvature=curvature,
        is_converged=residual <= tol,
        num_products=counted.num_products,
        route=counted.said,
    )


def check_right_side(call: str, b: Float[Tensor, "n"], tol: float, num_steps: int) -> None:
    """Raise OperatorError for a right side that is not finite or a limit that is negative."""
    if not bool(torch.isfinite(b).all()):
        raise OperatorError(
            f"{call}(op, b): b has NaN or infinite entries; give a finite right side "
            "(torch.isfinite(b) shows where)."
        )
    if tol < 0 or num_steps < 1:
        raise OperatorError(
            f"{call}(op, b): tol={tol} and {num_steps} steps; give tol >= 0 and at least one step."
        )
