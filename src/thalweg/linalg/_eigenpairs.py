"""The k largest eigenvalues, with vectors, residuals and two-sided bounds."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg.linalg._basis import BasisStorage
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._search import Search, outward, search_ends
from thalweg.linalg._sphere import unit_vectors

_ROUGHLY, _ROUGH_STEPS = 0.03, 20
"""Residual of pairs of a sample, as a share of max|θ|, and the steps beyond k that they may take:
they are near those of all data at best."""

_COARSE = {torch.float64: torch.float32, torch.float32: torch.float16}
"""What the basis for them is kept in: it must not take the room of the search that follows."""


@dataclass(frozen=True, eq=False)
class EigenPairs:
    """The k outermost eigenpairs at one end of a spectrum.

    Attributes:
        values: Ritz values θ₁ … θ_k, from the end inward. [the operator's unit]
        vectors: Unit vectors y₁ … y_k, as columns.
        residuals: Upper estimates of ‖A yᵢ − θᵢ yᵢ‖, never below rounding. [the operator's unit]
        bounds: For the i-th eigenvalue counted from that end, its lower and upper bound.
            [the operator's unit]
        is_converged: Every residual is at most tol·max|θ|.
        num_products: Products taken by the run that found them.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    values: Float[Tensor, "k"]
    vectors: Float[Tensor, "n k"]
    residuals: Float[Tensor, "k"]
    bounds: Float[Tensor, "k 2"]
    is_converged: bool
    num_products: int
    route: str = ""


def eigenpairs(
    op: SymmetricOperator,
    k: int = 5,
    *,
    generator: torch.Generator,
    tol: float = 1e-3,
    max_steps: int | None = None,
    storage: BasisStorage | None = None,
) -> EigenPairs:
    """Find the k algebraically largest eigenvalues and their vectors.

        A yᵢ = θᵢ yᵢ + rᵢ,   ‖rᵢ‖ ≤ tol·max|θ|
        θᵢ ≤ λᵢ ≤ θᵢ + min(‖rᵢ‖, ‖rᵢ‖²/(θᵢ − θᵢ₊₁ − ‖rᵢ₊₁‖))   up to rounding

    The run stops by itself. It begins at random; where the operator has a cheaper one near it, of a
    part of its data, a rough search there says where half of the start lies. The lower bound holds
    always (Cauchy interlacing). The upper one assumes that nothing was missed further out: each
    Ritz interval θ ± ‖r‖ that stands alone holds one eigenvalue, and none lies between. (Where
    intervals overlap they may hold any number, and from there on the upper bound stays at theirs.)
    The random part of the start misses an eigenvector with probability 0, but a run may stop before
    one that it holds little of shows (`Extremes.spread_bound` prices that for the outermost), and
    further copies of a repeated eigenvalue show only once the Krylov space is exhausted; ask for a
    smaller `tol` where eigenvalues crowd. The Kato-Temple term is used where its denominator is
    positive.

    Args:
        op: Symmetric n×n operator.
        k: Pairs wanted, 1 ≤ k ≤ n.
        generator: Draws the start.
        tol: Wanted residual as a share of max|θ|.
        max_steps: Most Lanczos steps; min(n, max(20 k, 200)) when left out. Up to n = 64 the
            matrix is multiplied out instead, if max_steps allows n products.
        storage: Where the basis is kept, and how precisely; as it is used when left out.

    Returns:
        `EigenPairs`, largest first; `is_converged` is False if max_steps came first.
        [the operator's unit]

    Raises:
        OperatorError: k or max_steps out of range; a product is NaN or infinite.

    Cost: as many products as Lanczos needs, `num_products`, and k + 20 of the cheaper operator at
    most; m vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, eigenpairs
        >>> op = MatrixOperator(torch.diag(torch.arange(1.0, 101.0)))
        >>> pairs = eigenpairs(op, k=2, generator=torch.Generator().manual_seed(0))
        >>> pairs.values.round(), pairs.is_converged
        (tensor([100.,  99.]), True)

    Source: Lanczos 1950; bounds by Parlett, The Symmetric Eigenvalue Problem, 1998, thm 10.1.1
    (interlacing) and secs 10.5, 11.7 (Kato 1949, Temple 1928). We differ: the residual carries
    the measured asymmetry of the operator, and after a breakdown the run goes on from a new
    random vector, so that copies of a repeated eigenvalue are counted. The start from a sample is
    ours.
    """
    search = search_ends(
        "eigenpairs",
        op,
        k,
        (1,),
        generator=generator,
        tol=tol,
        max_steps=max_steps,
        storage=storage,
        begin=lambda: _start(op, k, generator, storage),
    )
    return pairs_at_end(search, op, k, 1)


def _start(
    op: SymmetricOperator, k: int, generator: torch.Generator, storage: BasisStorage | None
) -> Float[Tensor, "n"]:
    """Return a vector on the sphere: uniform, or half of it from the k outermost pairs of a sample.

    The other half stays uniform, so that a direction that no sample shows is held as well.
    """
    uniform = unit_vectors(op, 1, generator)[:, 0]
    near = op.sampled()
    if near is None:
        return uniform
    device = None if storage is None else storage.device
    try:
        found = eigenpairs(
            near,
            k,
            generator=generator,
            tol=_ROUGHLY,
            max_steps=k + _ROUGH_STEPS,
            storage=BasisStorage(_COARSE.get(op.dtype, op.dtype), device),
        )
    except ThalwegError:
        # A few samples may be such that a mean over them is none.
        return uniform
    return uniform.add_(found.vectors.sum(1), alpha=k**-0.5)


def pairs_at_end(search: Search, op: SymmetricOperator, k: int, sign: int) -> EigenPairs:
    """Read the k outermost pairs at one end (+1: top, −1: bottom) out of a search."""
    order = outward(search.ritz, sign)
    wanted = order[:k]
    values, residuals = search.ritz.values[order], search.ritz.residuals[order]
    vectors = search.combine(torch.from_numpy(search.ritz.coefficients[:, wanted].copy()))
    vectors /= torch.linalg.vector_norm(vectors, dim=0)
    inner = sign * values[:k] - search.rounding
    outer = _outer_bounds(sign * values, residuals, k, search.is_exhausted) + search.rounding
    bounds = np.stack((inner, outer) if sign > 0 else (-outer, -inner), axis=1)

    def to_tensor(array: np.ndarray) -> Tensor:
        return torch.tensor(array, dtype=op.dtype, device=op.device)

    return EigenPairs(
        values=to_tensor(values[:k]),
        vectors=vectors,
        residuals=to_tensor(residuals[:k]),
        bounds=to_tensor(bounds),
        is_converged=search.is_converged,
        num_products=search.num_products,
        route=op.said,
    )


def _outer_bounds(
    theta: Float64[np.ndarray, "m"],
    residuals: Float64[np.ndarray, "m"],
    k: int,
    is_exhausted: bool,
) -> Float64[np.ndarray, "k"]:
    """Bound the k largest eigenvalues of ±A from above by its Ritz values θ, largest first."""
    upper, lower = theta + residuals, theta - residuals
    outer: Float64[np.ndarray, "k"] = upper[:k].copy()
    # Kato-Temple: with no eigenvalue between a and λᵢ, λᵢ − θᵢ ≤ rᵢ²/(θᵢ − a); a is the upper
    # end of the next Ritz interval.
    num_gaps = min(k, len(theta) - 1)
    gap = theta[:num_gaps] - upper[1 : num_gaps + 1]
    is_resolved = gap > 0
    temple = (
        theta[:num_gaps][is_resolved] + residuals[:num_gaps][is_resolved] ** 2 / gap[is_resolved]
    )
    outer[:num_gaps][is_resolved] = np.minimum(outer[:num_gaps][is_resolved], temple)
    if is_exhausted:
        return outer
    # Intervals that overlap may hold any number of eigenvalues: from there on the i-th may
    # still be one of theirs.
    overlaps = np.nonzero(upper[1:k] >= lower[: k - 1])[0]
    if len(overlaps) > 0:
        first = overlaps[0]
        outer[first:] = outer[first:].max()
    return outer
