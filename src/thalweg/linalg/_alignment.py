"""How much of a vector lies along some eigenvectors."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._eigenpairs import EigenPairs


@dataclass(frozen=True, eq=False)
class Alignment:
    """The share of a vector's square along each of k eigenvectors, and in their span.

    Attributes:
        total: Share in the span of the vectors that were found. [share of 1]
        shares: Share along each of them; they sum to the total. [share of 1]
        bounds: Lower and upper bound of the share in the span of the true eigenvectors.
            [share of 1]
        share_bounds: The same for each of them. [share of 1]
    """

    total: float
    shares: Float[Tensor, "k"]
    bounds: tuple[float, float]
    share_bounds: Float[Tensor, "k 2"]

    def __str__(self) -> str:
        return f"{self.total:.4g} ({self.bounds[0]:.4g} … {self.bounds[1]:.4g})"


def alignment(
    vector: Float[Tensor, "n"], pairs: EigenPairs, *, gap: float | None = None
) -> Alignment:
    """Measure the share of a vector's square that lies in the span of eigenvectors.

        s = ‖Yᵀg‖²/‖g‖² = cos²φ,   cos²(φ + ψ) ≤ true share ≤ cos²(φ − ψ)
        sin ψ = ‖R‖_F/δ for the span,   sin ψᵢ = ‖rᵢ‖/δᵢ for one vector

    δ is the distance from the values to the rest of the spectrum, δᵢ that from θᵢ to every other
    eigenvalue. The pairs know their neighbours, but not what comes after the last of them: say so
    with `gap`, or ask for one pair more than you read. When it is left out, the bounds of the
    total hold with the last pair as the fence before which the others lie, whose own share is
    anything that the others leave.

    Args:
        vector: g, such as a gradient, shape (n,).
        pairs: Eigenpairs with vectors in the space of g, from one end of the spectrum inward, as
            `eigenpairs` and `extremes` give them; for others, give `gap`.
        gap: Distance from their values to the nearest eigenvalue that is not among them.
            [the operator's unit]

    Returns:
        `Alignment`; its bounds assume, as those of the pairs do, that none was missed between.

    Raises:
        OperatorError: The vector is zero, not finite or does not fit the pairs; the gap is not
            positive.

    Cost: no products, 2nk operations.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, alignment, eigenpairs
        >>> op = MatrixOperator(torch.diag(torch.tensor([9.0, 4.0, 1.0, 0.0])))
        >>> pairs = eigenpairs(op, k=2, generator=torch.Generator().manual_seed(0))
        >>> found = alignment(torch.tensor([3.0, 0.0, 0.0, 4.0]), pairs, gap=3.0)
        >>> print(found)
        0.36 (0.36 … 0.36)

    Source: the reading by Gur-Ari, Roberts and Dyer 2018 (Gradient descent happens in a tiny
    subspace); the angles by Davis and Kahan 1970, SIAM J. Numer. Anal. 7, the sin Θ theorem.
    """
    Y = pairs.vectors
    _check_arguments(vector, Y, gap)
    if Y.shape[0] == Y.shape[1]:
        gap = math.inf
    g = vector.detach().double()
    parts = Y.double().T @ g
    shares = (parts / torch.linalg.vector_norm(g)) ** 2
    theta, residuals = pairs.values.double(), pairs.residuals.double()
    eps = torch.finfo(Y.dtype).eps * math.sqrt(len(g))
    tilts = [
        _sine(float(r), d) + eps
        for r, d in zip(residuals, _gaps(theta, residuals, gap), strict=True)
    ]
    each = [_between(float(s), tilt) for s, tilt in zip(shares, tilts, strict=True)]
    return Alignment(
        total=min(float(shares.sum()), 1.0),
        shares=shares.to(Y.dtype),
        bounds=_span(shares, theta, residuals, gap, eps),
        share_bounds=torch.tensor(each, dtype=Y.dtype, device=Y.device),
    )


def _check_arguments(vector: Tensor, Y: Tensor, gap: float | None) -> None:
    if vector.ndim != 1 or len(vector) != len(Y) or vector.device != Y.device:
        raise OperatorError(
            f"alignment(vector, pairs): vector has shape {tuple(vector.shape)} on {vector.device}, "
            f"the eigenvectors ({len(Y)},) on {Y.device}; give a vector of the operator's space."
        )
    square = float(vector.detach().double().square().sum())
    if not (square > 0 and math.isfinite(square)):
        raise OperatorError(
            f"alignment(vector, pairs): the vector's square is {square:.3g}, of which nothing is a "
            "share; give a finite vector that is not zero."
        )
    if gap is not None and not gap > 0:
        raise OperatorError(
            f"alignment(vector, pairs, gap={gap}): a gap is positive; leave it out when nothing "
            "is known beyond the last pair."
        )


def _gaps(
    theta: Float[Tensor, "k"], residuals: Float[Tensor, "k"], gap: float | None
) -> list[float]:
    """Return the distance from each value to every other eigenvalue; 0 where it is unknown."""
    distances = (theta[:, None] - theta).abs() - residuals
    distances.fill_diagonal_(math.inf)
    inner = distances.min(dim=1).values
    if gap is not None:
        return [float(d) for d in inner.clamp(max=gap)]
    # Beyond the last pair anything may follow, right behind it.
    is_known = _is_one_sided(theta)
    return [float(d) if is_known and i < len(theta) - 1 else 0.0 for i, d in enumerate(inner)]


def _is_one_sided(theta: Float[Tensor, "k"]) -> bool:
    """Whether the values come from one end inward, so that the last one is the fence."""
    steps = theta.diff()
    return bool((steps <= 0).all() or (steps >= 0).all())


def _span(
    shares: Float[Tensor, "k"],
    theta: Float[Tensor, "k"],
    residuals: Float[Tensor, "k"],
    gap: float | None,
    eps: float,
) -> tuple[float, float]:
    """Bound the share in the true span."""
    if gap is not None:
        tilt = _sine(float(torch.linalg.vector_norm(residuals)), gap) + eps
        return _between(float(shares.sum()), tilt)
    if len(theta) == 1 or not _is_one_sided(theta):
        return 0.0, 1.0
    fence = float((theta[-2] - theta[-1]).abs() - residuals[-1])
    tilt = _sine(float(torch.linalg.vector_norm(residuals[:-1])), fence) + eps
    return _between(float(shares[:-1].sum()), tilt)[0], 1.0


def _sine(residual: float, gap: float) -> float:
    """Return the largest sine that the residual allows."""
    return min(residual / gap, 1.0) if gap > 0 else 1.0


def _between(share: float, sine: float) -> tuple[float, float]:
    """Bound the share in a space whose angle to the given one has at most this sine."""
    if sine >= 1.0:
        return 0.0, 1.0
    phi, psi = math.acos(math.sqrt(min(max(share, 0.0), 1.0))), math.asin(sine)
    low, high = min(phi + psi, math.pi / 2), max(phi - psi, 0.0)
    return max(math.cos(low), 0.0) ** 2, math.cos(high) ** 2
