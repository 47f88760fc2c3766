"""How many eigenvalues are negative, null and positive."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._linear_operator import FOUR_GIB
from thalweg.linalg._operator import SymmetricOperator


@dataclass(frozen=True, eq=False)
class Inertia:
    """The counts of negative, null and positive eigenvalues.

    Attributes:
        negative: Eigenvalues below −null_tol; the index. [eigenvalues]
        null: Eigenvalues within null_tol of 0. [eigenvalues]
        positive: Eigenvalues above null_tol. [eigenvalues]
        interval: Lowest and highest number of eigenvalues below 0 that the doubt allows: any
            of the null ones may be negative, and an estimate adds its own doubt. [eigenvalues]
        null_tol: What counts as null. [the operator's unit]
        is_exact: Counted, not estimated.
        eigenvalues: All of them, ascending, where counted. [the operator's unit]
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    negative: int | float
    null: int | float
    positive: int | float
    interval: tuple[int | float, int | float]
    null_tol: float
    is_exact: bool
    eigenvalues: Float64[Tensor, "n"] | None
    num_products: int
    route: str = ""

    def __str__(self) -> str:
        low, high = self.interval
        doubt = "" if low == high else f" (from {low:.6g} to {high:.6g})"
        rest = f"{self.null:.6g} null, {self.positive:.6g} positive"
        return f"{self.negative:.6g} negative{doubt}, {rest}"


def inertia(
    op: SymmetricOperator, *, null_tol: float | None = None, max_bytes: int = FOUR_GIB
) -> Inertia:
    """Count the negative, null and positive eigenvalues of the whole matrix.

        negative = #{λ < −τ},   null = #{|λ| ≤ τ},   positive = #{λ > τ}

    Args:
        op: Symmetric n×n operator.
        null_tol: τ; n·ε·max|λ| when left out, with ε of the operator's dtype: what n roundings
            of a dense matrix may move an eigenvalue by. A product that is itself less accurate
            needs a larger one. [the operator's unit]
        max_bytes: Refuse when the n² float64 entries would take more than this.

    Returns:
        `Inertia`, exact, with all eigenvalues in float64 on the CPU.

    Raises:
        OperatorError: The matrix would not fit in `max_bytes`, null_tol is negative, or a
            product is NaN or infinite.

    Cost: n products and O(n³) operations in float64.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, inertia
        >>> count = inertia(MatrixOperator(torch.diag(torch.tensor([3.0, 0.0, -1.0, -2.0]))))
        >>> count.negative, count.null, count.positive, count.interval
        (2, 1, 1, (2, 3))

    Source: Sylvester 1852; the eigenvalues by LAPACK, backward stable to about n·ε·max|λ|
    (Higham 2002, sec. 9; Weyl's inequality).
    """
    n = op.size
    if n * n * 8 > max_bytes:
        raise OperatorError(
            f"inertia(op, max_bytes={max_bytes}): {op!r} takes {8 * n * n} bytes "
            f"({8 * n * n / 2**30:.3g} GiB) in float64; give max_bytes={8 * n * n}, or estimate: "
            "density(op, generator=g).inertia(null_tol)."
        )
    if null_tol is not None and null_tol < 0:
        raise OperatorError(
            f"inertia(op, null_tol={null_tol}): a tolerance is not negative; give null_tol >= 0."
        )
    counted = CountedOperator(op, "inertia")
    dense = counted.to_dense(max_bytes=max_bytes).cpu().numpy().astype(np.float64)
    values = np.linalg.eigvalsh(dense)
    if null_tol is None:
        null_tol = n * torch.finfo(op.dtype).eps * float(np.abs(values).max())
    negative = int((values < -null_tol).sum())
    positive = int((values > null_tol).sum())
    null = n - negative - positive
    return Inertia(
        negative=negative,
        null=null,
        positive=positive,
        interval=(negative, negative + null),
        null_tol=null_tol,
        is_exact=True,
        eigenvalues=torch.from_numpy(values),
        num_products=counted.num_products,
        route=counted.said,
    )
