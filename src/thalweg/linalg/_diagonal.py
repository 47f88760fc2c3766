"""The diagonal, from a few products, with a standard error for every entry."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._deflation import ROUNDINGS, Deflation
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._trace import check_budget


@dataclass(frozen=True, eq=False)
class Diagonal:
    """The diagonal of a matrix, estimated from random probes.

    Attributes:
        values: Estimates of A_jj, unbiased. [the operator's unit]
        stderr: Their standard errors: infinite from one probe, and never below rounding.
            [the operator's unit]
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    values: Float[Tensor, "n"]
    stderr: Float[Tensor, "n"]
    num_products: int
    route: str = ""


def diagonal(
    op: SymmetricOperator, *, num_products: int = 30, generator: torch.Generator
) -> Diagonal:
    """Estimate diag A: a Krylov space is held exactly, signs see what that leaves.

        A Q = Q T + β q eₘᵀ,   P = I − QQᵀ,   G = P A P
        diag A ≈ diag(A − G) + mean dᵢ,   dᵢ = ωᵢ ∘ G ωᵢ − c(ωᵢ ∘ Ĝᵢωᵢ − diag Ĝᵢ)
        stderr² = Σ(dᵢ − mean)²/(s(s − 1))   entry by entry

    for s probes ωᵢ of random signs, and Ĝᵢ, c as in `trace`. Exact to rounding when A has few
    different eigenvalues, and when num_products ≥ n (the matrix is multiplied out). The dᵢ share
    their images, so the stderr is somewhat small where Ĝ nearly holds the remainder.

    Args:
        op: Symmetric n×n operator.
        num_products: Budget, for steps and probes together.
        generator: Draws the start of the run, uniform on the sphere, and the signs.

    Returns:
        `Diagonal`; its stderrs are infinite where there is but one probe. [the operator's unit]

    Raises:
        OperatorError: num_products < 2; a product is NaN or infinite.

    Cost: num_products, n where that fits; m + 5s vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, diagonal
        >>> op = MatrixOperator(torch.tensor([[2.0, 1.0], [1.0, -3.0]]))
        >>> diagonal(op, generator=torch.Generator().manual_seed(0)).values
        tensor([ 2., -3.])

    Source: Bekas, Kokiopoulou and Saad 2007 (signs), the means of `trace` to lower their variance;
    the leave-one-out device is that of XDiag, Epperly, Tropp and Webber 2024, sec. 2.4.
    """
    check_budget("diagonal", num_products)
    counted = CountedOperator(op, "diagonal")
    if op.size <= num_products:
        return _exact(counted)
    deflation = Deflation(counted, generator, _signs)
    deflation.spend(num_products)
    return _read(deflation, counted)


def _exact(op: CountedOperator) -> Diagonal:
    A = op.to_dense()
    floor = ROUNDINGS * torch.finfo(op.dtype).eps * A.norm(dim=0)
    return Diagonal(A.diagonal().clone(), floor, op.num_products, op.said)


def _read(deflation: Deflation, op: CountedOperator) -> Diagonal:
    """Average the estimates of every entry."""
    held, omega = deflation.held_diagonal(), deflation.omega
    each = omega * deflation.images
    lengths = deflation.rest.norm(dim=0)
    for fold in deflation.folds():
        seen = omega[:, fold.members] * fold.seen * lengths[fold.members]
        each[:, fold.members] -= fold.share * (seen - fold.diagonal[:, None])
    s = deflation.num_probes
    values = held + each.mean(dim=1)
    spread = each.std(dim=1) / math.sqrt(s) if s > 1 else torch.full_like(values, math.inf)
    return Diagonal(values, torch.hypot(spread, deflation.row_floor()), op.num_products, op.said)


def _signs(op: SymmetricOperator, count: int, generator: torch.Generator) -> Float[Tensor, "n k"]:
    """Return columns of independent signs: their squares are 1, so nothing is divided by."""
    coins = torch.randint(2, (count, op.size), generator=generator, device=generator.device)
    return (2 * coins - 1).T.to(dtype=op.dtype, device=op.device)
