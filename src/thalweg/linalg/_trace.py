"""The trace, from a few products, with its standard error."""

import math

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._sketch import ROUNDINGS, Sketch
from thalweg.linalg._sphere import unit_vectors


def trace(op: SymmetricOperator, *, num_products: int = 30, generator: torch.Generator) -> Estimate:
    """Estimate tr A by XTrace: every probe serves as sketch and as sample.

        Y = A Ω,   Q = orth Y,   Qᵢ = orth of Y without column i,   Pᵢ = I − QᵢQᵢᵀ
        trᵢ = tr(QᵢᵀAQᵢ) + (n − m + 1) · ωᵢᵀPᵢAPᵢωᵢ / ‖Pᵢωᵢ‖²
        tr A ≈ mean trᵢ,   stderr² = Σ(trᵢ − mean)² / (m(m − 1))

    Exact to rounding when A has rank below m (its range is captured), and when num_products
    ≥ n (the matrix is multiplied out). The trᵢ share their sketch, so the stderr is somewhat
    small where the spectrum decays: measured at 15 probes, 0.75 of the rms error for λ_j = 0.8ʲ,
    0.95 for a flat spectrum.

    Args:
        op: Symmetric n×n operator.
        num_products: Budget; m = num_products // 2 probes are drawn.
        generator: Draws the probes, uniform on the sphere.

    Returns:
        `Estimate` of tr A; its stderr is infinite when m = 1. [the operator's unit]

    Raises:
        OperatorError: num_products < 2; a product is NaN or infinite.

    Cost: 2m products, m + rank A where that is fewer, n where that fits; 4m vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, trace
        >>> op = MatrixOperator(torch.diag(torch.tensor([1.0, 2.0, 3.0])))
        >>> trace(op, generator=torch.Generator().manual_seed(0)).value
        6.0

    Source: Epperly, Tropp and Webber 2024, SIAM J. Matrix Anal. Appl. 45, sec. 2 (XTrace) and
    its normalisation ("resphering"). We differ: a rank-deficient Y needs no other
    algorithm; the stderr carries a rounding floor; from n products on we multiply the matrix out.
    """
    if num_products < 2:
        raise OperatorError(
            f"trace(op, num_products={num_products}): a probe costs two products; give "
            "num_products >= 2."
        )
    counted = CountedOperator(op, "trace")
    if op.size <= num_products:
        return _exact(counted)
    omega = math.sqrt(op.size) * unit_vectors(op, num_products // 2, generator)
    return _exchangeable(counted, omega)


def _exact(op: CountedOperator) -> Estimate:
    """Sum the diagonal of the matrix."""
    diagonal = op.to_dense().diagonal().double()
    floor = ROUNDINGS * torch.finfo(op.dtype).eps * float(diagonal.abs().sum())
    return Estimate(float(diagonal.sum()), floor, op.num_products)


def _exchangeable(op: CountedOperator, omega: Float[Tensor, "n m"]) -> Estimate:
    """Average the m leave-one-out estimates."""
    m = omega.shape[1]
    sketch = Sketch(op, omega)
    each = traces(sketch)
    size = float(sketch.H.diagonal().abs().sum())
    size += float((omega.norm(dim=0) * sketch.Y.norm(dim=0)).mean())
    floor = ROUNDINGS * torch.finfo(op.dtype).eps * size
    spread = float(each.std()) / math.sqrt(m) if m > 1 else math.inf
    return Estimate(float(each.mean()), math.hypot(spread, floor), op.num_products)


def traces(sketch: Sketch) -> Float64[Tensor, "m"]:
    """Return the m leave-one-out estimates of tr A."""
    rest = sketch.rest
    sample = sketch.rank * (rest * sketch.image).sum(dim=0) / (rest * rest).sum(dim=0)
    return (sketch.captured_trace() + sample).double()
