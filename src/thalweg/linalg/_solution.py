"""The answer to A x = b, and what it leaves."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Solution:
    """An approximate solution of A x = b.

    Attributes:
        x: The solution.
        residual: ‖A x − b‖/‖b‖, rounding included; 0 for b = 0.
        negative_curvature: A unit direction d with dᵀA d ≤ 0 to rounding, if one was met.
        curvature: dᵀA d of that direction. [the operator's unit]
        is_converged: The residual reached the tolerance, or (`least_residual`) no further
            step can lower it.
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    x: Float[Tensor, "n"]
    residual: float
    negative_curvature: Float[Tensor, "n"] | None
    curvature: float | None
    is_converged: bool
    num_products: int
    route: str = ""
