"""The Frobenius norm, from a few products, with its standard error."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._deflation import ROUNDINGS, Deflation, Fold
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._trace import check_budget


def frobenius_norm(
    op: SymmetricOperator, *, num_products: int = 30, generator: torch.Generator
) -> Estimate:
    """Estimate ‖A‖_F, the root of the sum of all entries' or all eigenvalues' squares.

        A Q = Q T + β q eₘᵀ,   P = I − QQᵀ,   G = P A P,   k = n − m
        ‖A‖_F² = ‖T‖_F² + 2β² + ‖G‖_F² ≈ f = ‖T‖_F² + 2β² + mean fᵢ
        fᵢ = k‖G uᵢ‖² − c²(k‖Ĝᵢuᵢ‖² − ‖Ĝᵢ‖_F²),   ‖A‖_F ≈ √f,   stderr = stderr(f)/(2√f)

    for s probes uᵢ uniform on the sphere of P, and Ĝᵢ, c as in `trace`. f is unbiased; its root has
    the bias −stderr²/(2√f) of second order. Exact to rounding when A has few different
    eigenvalues, and when num_products ≥ n (the matrix is multiplied out). The fᵢ share their
    images, so the stderr is somewhat small where Ĝ nearly holds the remainder.

    Args:
        op: Symmetric n×n operator.
        num_products: Budget, for steps and probes together.
        generator: Draws the start of the run and the probes, uniform on the sphere.

    Returns:
        `Estimate` of ‖A‖_F; its stderr is infinite where there is but one probe. [the operator's
        unit]

    Raises:
        OperatorError: num_products < 2; a product is NaN or infinite.

    Cost: num_products, n where that fits; m + 4s vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, frobenius_norm
        >>> op = MatrixOperator(torch.diag(torch.tensor([3.0, -4.0])))
        >>> frobenius_norm(op, generator=torch.Generator().manual_seed(0)).value
        5.0

    Source: ours, by the means of `trace` applied to tr(A²) = ‖T‖_F² + 2β² + tr(G²).
    """
    check_budget("frobenius_norm", num_products)
    counted = CountedOperator(op, "frobenius_norm")
    if op.size <= num_products:
        value = float(counted.to_dense().double().norm())
        floor = ROUNDINGS * torch.finfo(op.dtype).eps * value
        return Estimate(value, floor, counted.num_products, counted.said)
    deflation = Deflation(counted, generator)
    deflation.spend(num_products)
    each = squares(deflation, deflation.folds())
    value = math.sqrt(max(float(each.mean()), 0.0))
    floor = ROUNDINGS * torch.finfo(op.dtype).eps * value
    s = deflation.num_probes
    spread = float(each.std()) / math.sqrt(s) if s > 1 else math.inf
    # A matrix of zeros has no slope of the root, and no doubt either.
    stderr = math.hypot(spread / (2 * value), floor) if value > 0 else math.sqrt(spread)
    return Estimate(value, stderr, counted.num_products, counted.said)


def squares(deflation: Deflation, folds: list[Fold]) -> Float64[Tensor, "s"]:
    """Return an estimate of ‖A‖_F² from each probe."""
    _, images = deflation.units()
    _, shift = deflation.sign_and_shift()
    k = deflation.rank
    each = k * images.square().sum(dim=0).double()
    for fold in folds:
        # Of Ĝ = F Fᵀ − σP.
        inner = fold.coordinates.square().sum(dim=0).double()
        seen = k * (fold.seen.square().sum(dim=0).double() - 2 * shift * inner)
        whole = fold.gram.square().sum() - 2 * shift * fold.gram.trace()
        each[fold.members] -= fold.share**2 * (seen - whole)
    return deflation.held_square + each
