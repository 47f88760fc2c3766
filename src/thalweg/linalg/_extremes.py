"""Both ends of a spectrum from one run, and an interval around all of it."""

import math
from dataclasses import dataclass

import torch

from thalweg._errors import OperatorError
from thalweg.linalg._basis import BasisStorage
from thalweg.linalg._eigenpairs import EigenPairs, pairs_at_end
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._search import search_ends


@dataclass(frozen=True, eq=False)
class Extremes:
    """The outermost eigenpairs at both ends, found by one run.

    Attributes:
        top: The k largest, largest first. [the operator's unit]
        bottom: The k smallest, smallest first. [the operator's unit]
        num_products: Products of the one run; `top` and `bottom` report the same number.
        num_krylov: Dimension of the Krylov space of the random start.
        num_checks: How often the run asked itself whether to stop.
        is_exhausted: That Krylov space is invariant: its ends are the ends of the spectrum.
        rounding: Doubt of any number from rounding and asymmetry. [the operator's unit]
        route: How products were computed, in words; "" for an operator that does not say.
    """

    top: EigenPairs
    bottom: EigenPairs
    num_products: int
    num_krylov: int
    num_checks: int
    is_exhausted: bool
    rounding: float
    route: str = ""

    def spread_bound(self, failure: float = 0.01) -> tuple[float, float]:
        """Return an interval that holds the whole spectrum, with a probability.

            P[λ₁ − θ₁ > ε S] ≤ 1.648 √n exp(−√ε (2m − 1)),   S = λ₁ − λ_n
            [θ_n − ε S, θ₁ + ε S],   S ≤ (θ₁ − θ_n)/(1 − 2ε)

        The probability is over the random start, whatever the matrix. Half of `failure` goes
        to each end. The run chose its own length, so each end is split once more over the
        lengths it might have stopped at: check j gets 1/(j(j+1)) of it, which sums to 1.

        Args:
            failure: Allowed probability that an eigenvalue lies outside, 0 < failure < 1.

        Returns:
            (low, high); (−inf, inf) when the run was too short to say anything (ε ≥ ½).
            [the operator's unit]

        Raises:
            OperatorError: `failure` is not between 0 and 1.

        Cost: no products.

        Example:
            >>> import torch
            >>> from thalweg.linalg import MatrixOperator, extremes
            >>> op = MatrixOperator(torch.diag(torch.linspace(-1.0, 1.0, 200)))
            >>> ends = extremes(op, generator=torch.Generator().manual_seed(0))
            >>> low, high = ends.spread_bound()
            >>> low <= -1.0 and high >= 1.0
            True

        Source: Kuczyński and Woźniakowski 1992, SIAM J. Matrix Anal. Appl. 13, thm 4.2, for a
        positive definite matrix; Lanczos does not see a shift, so we apply it to A − λ_n I and
        to λ₁ I − A (semidefinite, a limit). The union over stopping times is ours.
        """
        if not 0.0 < failure < 1.0:
            raise OperatorError(
                f"spread_bound(failure={failure}): a probability between 0 and 1; give for "
                "instance failure=0.01."
            )
        low, high = float(self.bottom.values[0]), float(self.top.values[0])
        margin = self.rounding
        if not self.is_exhausted:
            share = failure / (2 * self.num_checks * (self.num_checks + 1))
            n = self.top.vectors.shape[0]
            exponent = math.log(1.648 * math.sqrt(n) / share) / (2 * self.num_krylov - 1)
            epsilon = exponent**2
            if epsilon >= 0.5:
                return -math.inf, math.inf
            margin += epsilon * (high - low) / (1 - 2 * epsilon)
        return low - margin, high + margin


def extremes(
    op: SymmetricOperator,
    k: int = 1,
    *,
    generator: torch.Generator,
    tol: float = 1e-3,
    max_steps: int | None = None,
    storage: BasisStorage | None = None,
) -> Extremes:
    """Find the k largest and the k smallest eigenvalues from one Lanczos run.

        A yᵢ = θᵢ yᵢ + rᵢ,   ‖rᵢ‖ ≤ tol·max|θ|,   at both ends

    Args:
        op: Symmetric n×n operator.
        k: Pairs wanted at each end, 1 ≤ k ≤ n.
        generator: Draws the start, uniform on the sphere.
        tol: Wanted residual as a share of max|θ|.
        max_steps: Most Lanczos steps; min(n, max(20 k, 200)) when left out. Up to n = 64 the
            matrix is multiplied out instead, if max_steps allows n products.
        storage: Where the basis is kept, and how precisely; as it is used when left out.

    Returns:
        `Extremes`; `is_converged` of both ends is False if max_steps came first.
        [the operator's unit]

    Raises:
        OperatorError: k or max_steps out of range; a product is NaN or infinite.

    Cost: one run, `num_products`: a Krylov space serves both ends alike.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, extremes
        >>> op = MatrixOperator(torch.diag(torch.arange(-50.0, 51.0)))
        >>> ends = extremes(op, generator=torch.Generator().manual_seed(0))
        >>> ends.top.values.round(), ends.bottom.values.round()
        (tensor([50.]), tensor([-50.]))

    Source: as `eigenpairs`; at the bottom everything is that of −A.
    """
    search = search_ends(
        "extremes",
        op,
        k,
        (1, -1),
        generator=generator,
        tol=tol,
        max_steps=max_steps,
        storage=storage,
    )
    return Extremes(
        top=pairs_at_end(search, op, k, 1),
        bottom=pairs_at_end(search, op, k, -1),
        num_products=search.num_products,
        route=op.said,
        num_krylov=search.num_krylov,
        num_checks=search.num_checks,
        is_exhausted=search.is_exhausted,
        rounding=search.rounding,
    )
