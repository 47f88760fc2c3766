"""How many directions carry the trace of a positive semidefinite matrix."""

import math

import torch

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._deflation import ROUNDINGS, Deflation
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._frobenius_norm import squares
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._trace import check_budget, traces


def effective_rank(
    op: SymmetricOperator, *, num_products: int = 30, generator: torch.Generator
) -> Estimate:
    """Estimate the participation ratio of the eigenvalues of a positive semidefinite matrix.

        r(A) = (tr A)²/‖A‖_F² = (Σλ)²/Σλ²,   1 ≤ r(A) ≤ rank A

    It is k when k eigenvalues are equal and the others 0. Trace and square come from the same
    probes, and their errors are taken together: with the estimates tᵢ of `trace` and fᵢ of
    `frobenius_norm` from s probes,

        r ≈ t²/f,   stderr² = Σ gᵢ²/(s(s − 1)),   gᵢ = (2t/f)(tᵢ − t) − (t²/f²)(fᵢ − f)

    The estimates share their images, so the stderr is somewhat small on decaying spectra.

    Args:
        op: Symmetric positive semidefinite n×n operator, such as a GGN or a Fisher matrix.
        num_products: Budget, for steps and probes together.
        generator: Draws the start of the run and the probes, uniform on the sphere.

    Returns:
        `Estimate`, its bias of second order in its stderr; infinite from one probe. Within
        [1, n]. [directions]

    Raises:
        OperatorError: num_products < 2; a direction of negative curvature was met; the matrix is
            zero; a product is NaN or infinite.

    Cost: num_products, fewer where the remainder is rounding, n where that fits; m + 4s vectors.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, effective_rank
        >>> op = MatrixOperator(torch.diag(torch.tensor([2.0, 2.0, 2.0, 0.0])))
        >>> effective_rank(op, generator=torch.Generator().manual_seed(0)).value
        3.0

    Source: the participation ratio of Bell and Dean 1970; as a measure of dimension Gao and
    others 2017. The estimate is ours,
    from `trace` and `frobenius_norm`.
    """
    check_budget("effective_rank", num_products)
    counted = CountedOperator(op, "effective_rank")
    if op.size <= num_products:
        return _exact(counted)
    deflation = Deflation(counted, generator)
    deflation.spend(num_products)
    _check_positive(op, *deflation.seen_ends())
    folds = deflation.folds()
    t, f = traces(deflation, folds), squares(deflation, folds)
    ratio, slope = float(t.mean() ** 2 / f.mean()), float(2 * t.mean() / f.mean())
    g = slope * (t - t.mean()) - ratio / float(f.mean()) * (f - f.mean())
    s = deflation.num_probes
    spread = float(g.std()) / math.sqrt(s) if s > 1 else math.inf
    floor = ROUNDINGS * torch.finfo(op.dtype).eps * ratio
    value = min(max(ratio, 1.0), float(op.size))
    return Estimate(value, math.hypot(spread, floor), counted.num_products, counted.said)


def _exact(op: CountedOperator) -> Estimate:
    values = torch.linalg.eigvalsh(op.to_dense().double())
    _check_positive(op, float(values[0]), float(values.abs().max()))
    value = float(values.sum() ** 2 / (values * values).sum())
    return Estimate(value, ROUNDINGS * torch.finfo(op.dtype).eps * value, op.num_products, op.said)


def _check_positive(op: SymmetricOperator, lowest: float, largest: float) -> None:
    if largest == 0.0:
        raise OperatorError(
            f"effective_rank(op): {op!r} is zero and has no direction to count; check the point "
            "it was taken at."
        )
    if lowest < -op.size * torch.finfo(op.dtype).eps * largest:
        raise OperatorError(
            f"effective_rank(op): {op!r} has curvature {lowest:.3g} beside {largest:.3g}, and the "
            "ratio is one of positive semidefinite matrices; give point.ggn() or point.fisher()."
        )
