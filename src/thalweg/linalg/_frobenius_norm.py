"""The Frobenius norm, from a few products, with its standard error."""

import math

import torch
from jaxtyping import Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._sketch import ROUNDINGS, Sketch
from thalweg.linalg._sphere import unit_vectors


def frobenius_norm(
    op: SymmetricOperator, *, num_products: int = 30, generator: torch.Generator
) -> Estimate:
    """Estimate ‖A‖_F, the root of the sum of all entries' or all eigenvalues' squares.

        fᵢ = ‖A − PᵢA Pᵢ‖_F² + (n − m + 1) · ‖PᵢA Pᵢωᵢ‖²/‖Pᵢωᵢ‖²,   Pᵢ = I − QᵢQᵢᵀ
        ‖A‖_F² ≈ f = mean fᵢ,   ‖A‖_F ≈ √f,   stderr = stderr(f)/(2√f)

    with Qᵢ = orth of A Ω without column i. f is unbiased; its root has the bias −stderr²/(2√f) of
    second order. Exact to rounding when A has rank below m, and when num_products ≥ n (the
    matrix is multiplied out). The fᵢ share their sketch, so the stderr is somewhat small where
    the spectrum decays: measured at 15 probes, 0.65 of the rms error for λ_j = 0.8ʲ, 0.7 for 1/j,
    0.86 for a flat spectrum.

    Args:
        op: Symmetric n×n operator.
        num_products: Budget; m = num_products // 2 probes are drawn.
        generator: Draws the probes, uniform on the sphere.

    Returns:
        `Estimate` of ‖A‖_F; its stderr is infinite when m = 1. [the operator's unit]

    Raises:
        OperatorError: num_products < 2; a product is NaN or infinite.

    Cost: 2m products, m + rank A where that is fewer, n where that fits; 6m vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, frobenius_norm
        >>> op = MatrixOperator(torch.diag(torch.tensor([3.0, -4.0])))
        >>> frobenius_norm(op, generator=torch.Generator().manual_seed(0)).value
        5.0

    Source: ours, by the leave-one-out device of Epperly, Tropp and Webber 2024 (`trace`) applied
    to tr(A²), with the projection on both sides of A. One product a probe, ‖A ω‖² as in Hutchinson
    1990, has no sketch to subtract: measured at 30 products, its error is 46 times this one's for
    λ_j = 0.8ʲ, 20 times for 1/j, and 0.64 of it for a flat spectrum.
    """
    if num_products < 2:
        raise OperatorError(
            f"frobenius_norm(op, num_products={num_products}): a probe costs two products; give "
            "num_products >= 2."
        )
    counted = CountedOperator(op, "frobenius_norm")
    if op.size <= num_products:
        value = float(counted.to_dense().double().norm())
        floor = ROUNDINGS * torch.finfo(op.dtype).eps * value
        return Estimate(value, floor, counted.num_products)
    m = num_products // 2
    each = squares(Sketch(counted, math.sqrt(op.size) * unit_vectors(op, m, generator)))
    value = math.sqrt(max(float(each.mean()), 0.0))
    floor = ROUNDINGS * torch.finfo(op.dtype).eps * value
    spread = float(each.std()) / math.sqrt(m) if m > 1 else math.inf
    # A matrix of zeros has no slope of the root, and no doubt either.
    stderr = math.hypot(spread / (2 * value), floor) if value > 0 else math.sqrt(spread)
    return Estimate(value, stderr, counted.num_products)


def squares(sketch: Sketch) -> Float64[Tensor, "m"]:
    """Return the m leave-one-out estimates of ‖A‖_F²."""
    left, rest = sketch.remainder(), sketch.rest
    sample = sketch.rank * (left * left).sum(dim=0) / (rest * rest).sum(dim=0)
    return (sketch.captured_square() + sample).double()
