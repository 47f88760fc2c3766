"""The search for the ends of a spectrum: one run, extended until the wanted pairs are found."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._basis import BasisStorage
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._ritz import Ritz, ritz_pairs
from thalweg.linalg._sphere import unit_vectors

# Up to here n products buy the whole matrix, and with it every multiplicity for certain.
DENSE_SIZE = 64


@dataclass(frozen=True, eq=False)
class Search:
    """A finished search: the Ritz pairs, and what is known of the run behind them.

    Attributes:
        ritz: All Ritz pairs found.
        combine: Turns coefficients (m, k) into vectors (n, k).
        rounding: Doubt of any number from rounding and asymmetry alone.
        is_converged: Every wanted pair reached the tolerance.
        is_exhausted: The first Krylov space is invariant: it holds every eigenvalue.
        num_krylov: Dimension of the first Krylov space.
        num_checks: How often the search asked itself whether to stop.
        num_products: Products taken.
    """

    ritz: Ritz
    combine: Callable[[Tensor], Tensor]
    rounding: float
    is_converged: bool
    is_exhausted: bool
    num_krylov: int
    num_checks: int
    num_products: int


def search_ends(
    call: str,
    op: SymmetricOperator,
    k: int,
    signs: tuple[int, ...],
    *,
    generator: torch.Generator,
    tol: float,
    max_steps: int | None,
    storage: BasisStorage | None,
    begin: Callable[[], Tensor] | None = None,
) -> Search:
    """Search the k outermost pairs at each end in `signs` (+1: top, −1: bottom).

    A Krylov space begins at `begin()`, or at a vector that is uniform on the sphere.
    """
    n = op.size
    if not 1 <= k <= n:
        raise OperatorError(
            f"{call}(op, k={k}): {op!r} has {n} eigenvalues; give k between 1 and {n}."
        )
    if max_steps is not None and max_steps < k:
        raise OperatorError(
            f"{call}(op, k={k}, max_steps={max_steps}): k pairs take at least k steps; give "
            f"max_steps >= {k}, or leave it out."
        )
    limit = min(n, max(20 * k, 200) if max_steps is None else max_steps)
    counted = CountedOperator(op, call)
    if n <= min(limit, DENSE_SIZE):
        return search_dense(counted)
    start = unit_vectors(counted, 1, generator)[:, 0] if begin is None else begin()
    run = LanczosRun(counted, start, storage)
    return _search_krylov(run, counted, k, signs, generator=generator, tol=tol, limit=limit)


def search_dense(op: CountedOperator) -> Search:
    """Take all n products at once and diagonalise."""
    A = (op @ torch.eye(op.size, dtype=op.dtype, device=op.device)).double().cpu().numpy()
    values, vectors = np.linalg.eigh((A + A.T) / 2)
    eps = torch.finfo(op.dtype).eps
    rounding = float(
        np.linalg.norm(A - A.T) / 2 + eps * np.abs(values).max() * (10.0 + op.size**0.5)
    )
    return Search(
        ritz=Ritz(values, vectors, np.full(op.size, rounding)),
        combine=lambda S: S.to(dtype=op.dtype, device=op.device),
        rounding=rounding,
        is_converged=True,
        is_exhausted=True,
        num_krylov=op.size,
        num_checks=1,
        num_products=op.num_products,
    )


def _search_krylov(
    run: LanczosRun,
    op: CountedOperator,
    k: int,
    signs: tuple[int, ...],
    *,
    generator: torch.Generator,
    tol: float,
    limit: int,
) -> Search:
    """Extend one Lanczos run until it is settled or has taken `limit` steps."""
    run.extend(min(k + 4, limit))
    num_checks = 1
    while True:
        ritz = ritz_pairs(run)
        is_settled = all(_is_settled(run, ritz, k, sign, tol) for sign in signs)
        if is_settled or run.num_steps >= limit:
            break
        if run.is_invariant:
            run.restart(unit_vectors(op, 1, generator)[:, 0])
        # The check costs m³ small operations: ask more rarely as m grows.
        run.extend(min(1 + run.num_steps // 16, limit - run.num_steps))
        num_checks += 1
    return Search(
        ritz=ritz,
        combine=run.basis.combine,
        rounding=run.rounding,
        is_converged=is_settled,
        is_exhausted=run.first_block is not None,
        num_krylov=run.first_block or run.num_steps,
        num_checks=num_checks,
        num_products=run.num_products,
    )


def _is_settled(run: LanczosRun, ritz: Ritz, k: int, sign: int, tol: float) -> bool:
    """Whether the k outermost pairs at one end are found, copies included where they show."""
    if run.num_steps == run.basis.size:
        return bool((ritz.residuals <= tol * ritz.scale).all())
    if len(ritz.values) < k:
        return False
    slack = tol * ritz.scale
    order = outward(ritz, sign)[:k]
    if (ritz.residuals[order] > slack).any():
        return False
    if run.block_start == 0 and not run.is_closed:
        return True
    # After a breakdown, or a near one, the current block works in the complement of all former
    # ones, and its outermost value is the outermost eigenvalue left there. No copy is missing
    # once that value lies no further out than the last wanted one.
    block = ritz_pairs(run, run.block_start)
    outermost = outward(block, sign)[0]
    is_beyond = sign * (block.values[outermost] - ritz.values[order[-1]]) > slack
    return bool(block.residuals[outermost] <= slack and not is_beyond)


def outward(ritz: Ritz, sign: int) -> list[int]:
    """Return the places of the Ritz values from the given end inward."""
    places = range(len(ritz.values))
    return list(reversed(places)) if sign > 0 else list(places)
