"""The largest eigenvalue of an operator that has changed a little, from its old eigenvector."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._ritz import ritz_pairs


@dataclass(frozen=True, eq=False)
class Followed:
    """An eigenvalue that was followed.

    Attributes:
        value: θ, the largest Ritz value; a lower bound of λ_max. [the operator's unit]
        vector: A unit vector to follow from next time, at least as good as the Ritz vector.
        residual: ‖A y − θ y‖ of the Ritz vector y. [the operator's unit]
        error: min(‖r‖, ‖r‖²/(θ − second)): how far above θ the eigenvalue may lie that y
            belongs to. [the operator's unit]
        second: The next eigenvalue, as far as it is known. [the operator's unit]
        is_converged: The error is at most tol·|θ|.
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    value: float
    vector: Float[Tensor, "n"]
    residual: float
    error: float
    second: float
    is_converged: bool
    num_products: int
    route: str = ""


def follow(
    op: SymmetricOperator,
    vector: Float[Tensor, "n"],
    second: float,
    *,
    former: float | None = None,
    tol: float = 1e-2,
    max_steps: int = 30,
) -> Followed:
    """Find the largest eigenvalue from a vector that is nearly its eigenvector.

        θ ≤ λ ≤ θ + min(‖r‖, ‖r‖²/(θ − second)),   r = A y − θ y

    Lanczos steps from `vector`, as many as the error needs; often one is enough. Nothing is known
    of an eigenvalue to whose eigenvector the start is orthogonal: a new one that grows past the
    old shows late. Begin again with `extremes` now and then.

    Args:
        op: Symmetric n×n operator.
        vector: The start, of shape (n,); need not be of length 1.
        second: The second largest eigenvalue, as it was; −inf if unknown. [the operator's unit]
        former: The largest, as it was then, where the spectrum may since have grown or shrunk as a
            whole: their ratio is taken to have stayed. Left out: `second` itself is.
            [the operator's unit]
        tol: Wanted error as a share of |θ|.
        max_steps: Most products.

    Returns:
        `Followed`. [the operator's unit]

    Raises:
        OperatorError: The vector does not fit or is zero, or max_steps < 1; a product is NaN or
            infinite.

    Cost: one product where the operator has hardly changed.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, follow
        >>> op = MatrixOperator(torch.diag(torch.tensor([3.0, 1.0, 0.0])))
        >>> found = follow(op, torch.tensor([1.0, 0.05, 0.0]), second=1.0)
        >>> round(found.value, 2), found.num_products
        (3.0, 1)

    Source: the bound is Kato's and Temple's, Parlett 1998, sec. 10.5. We differ: the second
    eigenvalue is that of the former operator, or its share of the largest, until a step has shown
    a larger Ritz value.
    """
    if max_steps < 1:
        raise OperatorError(f"follow(op, max_steps={max_steps}): give at least one step.")
    op.check_factor(vector)
    vector = vector.detach()
    if not float(torch.linalg.vector_norm(vector)) > 0:
        raise OperatorError("follow(op, vector): the vector is zero; give an eigenvector's guess.")
    run = LanczosRun(CountedOperator(op, "follow"), vector)
    limit = min(max_steps, op.size)
    while True:
        run.extend(1)
        ritz = ritz_pairs(run)
        theta, residual = float(ritz.values[-1]), float(ritz.residuals[-1])
        below = max([_moved(second, former, theta), *ritz.values[-2:-1].tolist()])
        is_apart = -math.inf < below < theta
        error = min(residual, residual**2 / (theta - below)) if is_apart else residual
        is_converged = error <= tol * abs(theta) or run.is_invariant
        if is_converged or run.num_steps >= limit:
            break
    return Followed(
        value=theta,
        vector=_next(run, ritz.coefficients[:, -1]),
        residual=residual,
        error=error,
        second=below,
        is_converged=is_converged,
        num_products=run.num_products,
        route=op.said,
    )


def _moved(second: float, former: float | None, theta: float) -> float:
    """The second eigenvalue, moved on as the largest has, where all are positive."""
    if former is None or not (second > 0 and former > 0 and theta > 0):
        return second
    return second * (theta / former)


def _next(run: LanczosRun, coefficients: np.ndarray) -> Float[Tensor, "n"]:
    """The Ritz vector; after a single step A y, which costs nothing and is better by λ₂/λ₁."""
    vector = run.basis.combine(torch.from_numpy(coefficients[:, None].copy()))[:, 0]
    if run.num_steps == 1 and not run.is_invariant and run.alphas[0] > 0:
        vector = vector + run.ahead * (run.betas[0] / run.alphas[0])
    unit: Tensor = vector / torch.linalg.vector_norm(vector)
    return unit
