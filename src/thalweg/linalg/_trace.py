"""The trace, from a few products, with its standard error."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._sphere import unit_vectors

# Roundings allowed to a number summed from products: as in a Lanczos run.
_ROUNDINGS = 10.0


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
    its normalisation ("resphering"). We differ: QᵢQᵢᵀ = Q(I − sᵢsᵢᵀ)Qᵀ is taken from a singular
    value decomposition of R instead of R⁻ᵀ, so that a rank-deficient Y, where dropping a column
    loses nothing (sᵢ = 0), needs no other algorithm; the stderr carries a rounding floor; from n
    products on we multiply the matrix out.
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
    floor = _ROUNDINGS * torch.finfo(op.dtype).eps * float(diagonal.abs().sum())
    return Estimate(float(diagonal.sum()), floor, op.num_products)


def _exchangeable(op: CountedOperator, omega: Float[Tensor, "n m"]) -> Estimate:
    """Average the m leave-one-out estimates."""
    m = omega.shape[1]
    Y = op @ omega
    Q, S = _leave_one_out(Y)
    Z = op @ Q
    H = Q.T @ Z
    # xᵢ = (I − sᵢsᵢᵀ)Qᵀωᵢ, so that Pᵢωᵢ = ωᵢ − Q xᵢ.
    X = Q.T @ omega
    X = X - S * (S * X).sum(dim=0)
    rest = omega - Q @ X
    sample = (rest * (Y - Z @ X)).sum(dim=0)
    # Rank of Pᵢ: one more where leaving column i out shrinks the space.
    rank = op.size - Q.shape[1] + (S * S).sum(dim=0)
    scaled = sample * rank / (rest * rest).sum(dim=0)
    each = (H.trace() - (S * (H @ S)).sum(dim=0) + scaled).double()
    size = float(H.diagonal().abs().sum()) + float((omega.norm(dim=0) * Y.norm(dim=0)).mean())
    floor = _ROUNDINGS * torch.finfo(op.dtype).eps * size
    spread = float(each.std()) / math.sqrt(m) if m > 1 else math.inf
    return Estimate(float(each.mean()), math.hypot(spread, floor), op.num_products)


def _leave_one_out(Y: Float[Tensor, "n m"]) -> tuple[Float[Tensor, "n r"], Float[Tensor, "r m"]]:
    """Return Q = orth Y and S, whose column sᵢ spans what Q loses when column i of Y is left out.

    With Y = QΣVᵀ of full rank, sᵢ ⟂ Σ V_j for j ≠ i, that is sᵢ ∝ Σ⁻¹Vᵀeᵢ; a Y of lower rank
    loses nothing.
    """
    Q, R = torch.linalg.qr(Y)
    U, sigma, Vh = torch.linalg.svd(R)
    m = Y.shape[1]
    is_kept = sigma > m * torch.finfo(Y.dtype).eps * sigma[0]
    Q = Q @ U[:, is_kept]
    if not bool(is_kept.all()):
        return Q, torch.zeros(Q.shape[1], m, dtype=Y.dtype, device=Y.device)
    S = Vh / sigma[:, None]
    return Q, S / S.norm(dim=0)
