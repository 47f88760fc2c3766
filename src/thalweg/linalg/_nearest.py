"""The eigenvalues nearest a given one, inside the spectrum too."""

import math

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._eigenpairs import EigenPairs
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._search import DENSE_SIZE, search_dense
from thalweg.linalg._sphere import unit_vectors


def nearest(
    op: SymmetricOperator,
    sigma: float,
    k: int = 1,
    *,
    generator: torch.Generator,
    tol: float = 1e-3,
    max_products: int | None = None,
) -> EigenPairs:
    """Find the k eigenvalues nearest σ and their vectors.

        A yᵢ = θᵢ yᵢ + rᵢ,   ‖rᵢ‖ ≤ tol·max|θ|,   |θ₁ − σ| ≤ |θ₂ − σ| ≤ …

    One Lanczos run, read by harmonic Ritz values: the Ritz values of (A − σI)⁻¹ on the space
    (A − σI)K, for which no inverse is needed. They come in from outside: seen from σ, the i-th on
    either side is never nearer than the i-th eigenvalue there, so that none of them is spurious.
    The run goes on until the k nearest are found, and the next on either side is found too or too
    far to come before them, at two checks in a row.

    Certain: within ‖rᵢ‖ of θᵢ lies an eigenvalue, which is what `bounds` says. Not certain: that
    intervals which overlap hold different ones, and that none nearer to σ was missed. A run may
    stop before an eigenvalue shows of which its start holds little, and further copies of a
    repeated one show only once the Krylov space is exhausted. Only where n products are taken,
    always so up to n = 64, is nothing missed.

    Args:
        op: Symmetric n×n operator.
        sigma: σ, the value looked around. [the operator's unit]
        k: Pairs wanted, 1 ≤ k ≤ n.
        generator: Draws the start, uniform on the sphere.
        tol: Wanted residual as a share of max|θ|. Deep inside a dense spectrum, eigenvalues
            closer than that are not told apart: ask for less.
        max_products: Most products; min(n, max(40 k, 400)) when left out. Up to n = 64 the matrix
            is multiplied out instead, if they allow n.

    Returns:
        `EigenPairs`, nearest first; `is_converged` is False if max_products came first.
        [the operator's unit]

    Raises:
        OperatorError: σ is not finite, k or max_products out of range; a product is NaN or
            infinite.

    Cost: as many products as it needs, `num_products`, and as many vectors of memory. An
    isolated eigenvalue costs a few dozen; one in the middle of n crowded ones nearly n.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, nearest
        >>> op = MatrixOperator(torch.diag(torch.arange(1.0, 41.0)))
        >>> nearest(op, 17.2, k=3, generator=torch.Generator().manual_seed(0)).values.round()
        tensor([17., 18., 16.])

    Source: Morgan 1991, Linear Algebra Appl. 154-156, and Paige, Parlett and van der Vorst 1995,
    Numer. Linear Algebra Appl. 2 (harmonic Ritz values); the bounds that they are, Lehmann 1949.
    Shift-and-invert with an inner solver and polynomial filters stay inside the same Krylov space
    once their products are counted, and see less of it. We differ: eigenvalue and residual are
    those of the Rayleigh-Ritz pairs on the span of the k harmonic vectors; after a breakdown the
    run goes on from a new random vector, so that copies of a repeated eigenvalue are counted.
    """
    n = op.size
    if not math.isfinite(sigma):
        raise OperatorError(
            f"nearest(op, sigma={sigma}): give a finite value to look around; for the ends of "
            "the spectrum extremes(op)."
        )
    if not 1 <= k <= n:
        raise OperatorError(
            f"nearest(op, k={k}): {op!r} has {n} eigenvalues; give k between 1 and {n}."
        )
    if max_products is not None and max_products < k:
        raise OperatorError(
            f"nearest(op, k={k}, max_products={max_products}): k pairs take at least k products; "
            f"give max_products >= {k}, or leave it out."
        )
    limit = min(n, max(40 * k, 400) if max_products is None else max_products)
    counted = CountedOperator(op, "nearest")
    if n <= min(limit, DENSE_SIZE):
        return _dense(counted, sigma, k)
    return _krylov(counted, sigma, k, generator=generator, tol=tol, limit=limit)


def _dense(op: CountedOperator, sigma: float, k: int) -> EigenPairs:
    """Choose from all pairs of the matrix multiplied out."""
    ritz = search_dense(op).ritz
    chosen = np.argsort(np.abs(ritz.values - sigma), kind="stable")[:k]
    Y = torch.from_numpy(ritz.coefficients[:, chosen].copy()).to(dtype=op.dtype, device=op.device)
    return _pairs(op, ritz.values[chosen], Y, ritz.residuals[chosen], is_converged=True)


def _krylov(
    op: CountedOperator,
    sigma: float,
    k: int,
    *,
    generator: torch.Generator,
    tol: float,
    limit: int,
) -> EigenPairs:
    """Extend one Lanczos run until the nearest harmonic pairs are settled."""
    run = LanczosRun(op, unit_vectors(op, 1, generator)[:, 0])
    run.extend(min(2 * k + 2, limit))
    was_settled = False
    while True:
        found = _Inner(run, sigma, k)
        is_settled = found.is_settled(tol)
        # Settled twice: an eigenvalue of which the start holds little shows a few steps later.
        if (is_settled and (was_settled or run.is_invariant)) or run.num_steps >= limit:
            break
        was_settled = is_settled
        if run.is_invariant:
            run.restart(unit_vectors(op, 1, generator)[:, 0])
        # The check costs m³ small operations: ask more rarely as m grows.
        run.extend(min(max(3, run.num_steps // 8), limit - run.num_steps))
    Y = run.basis.combine(torch.from_numpy(found.coefficients))
    return _pairs(op, found.values, Y, found.residuals, is_converged=is_settled)


class _Inner:
    """The harmonic pairs of a run nearest σ, made Ritz pairs of their own span."""

    def __init__(self, run: LanczosRun, sigma: float, k: int, first: int = 0) -> None:
        self._run, self._sigma, self._k = run, sigma, k
        self._T = _rectangular(run.alphas[first:], run.betas[first:])
        m = self._T.shape[1]
        self._scale = float(np.linalg.norm(self._T, 2))
        mu, vectors = _harmonic_pairs(self._T, sigma, run.rounding)
        S = np.linalg.qr(vectors[:, :k])[0]
        theta, rotation = np.linalg.eigh(S.T @ self._T[:m] @ S)
        order = np.argsort(np.abs(theta - sigma), kind="stable")
        self.values: Float64[np.ndarray, "k"] = theta[order]
        self.coefficients: Float64[np.ndarray, "m k"] = S @ rotation[:, order]
        self.residuals = self._residuals(self.coefficients, self.values)
        # The next on either side of σ.
        next_ones = [k + np.flatnonzero(side)[:1] for side in (mu[k:] > 0, mu[k:] < 0)]
        self._followers: Float64[np.ndarray, "m f"] = vectors[:, np.concatenate(next_ones)]

    def _residuals(
        self, S: Float64[np.ndarray, "m k"], theta: Float64[np.ndarray, "k"]
    ) -> Float64[np.ndarray, "k"]:
        """Return ‖A y − θ y‖ + rounding for y = Q s."""
        padded = np.vstack([S, np.zeros((1, len(theta)))])
        rest = np.linalg.norm(self._T @ S - padded * theta, axis=0)
        residuals: Float64[np.ndarray, "k"] = rest + self._run.rounding
        return residuals

    def is_settled(self, tol: float) -> bool:
        """Whether the wanted pairs are found, copies included where they show."""
        run, slack = self._run, tol * self._scale
        if len(self.values) < self._k or (self.residuals > slack).any():
            return False
        if run.num_steps == run.basis.size:
            return True
        reach = float(np.abs(self.values[-1] - self._sigma)) - slack
        if self._may_be_overtaken(reach, slack):
            return False
        if run.block_start == 0 and not run.is_closed:
            return True
        # After a breakdown, or a near one, the current block works in the complement of all former
        # ones. No copy is missing once its nearest lies no nearer than the last wanted one.
        block = _Inner(run, self._sigma, 1, run.block_start)
        is_nearer = np.abs(block.values[0] - self._sigma) < reach
        return bool(block.residuals[0] <= slack and not is_nearer)

    def _may_be_overtaken(self, reach: float, slack: float) -> bool:
        """Whether the next pair on either side is still on its way in, and may come this near."""
        S = self._followers
        m = len(S)
        theta = (S * (self._T[:m] @ S)).sum(axis=0)
        residuals = self._residuals(S, theta)
        nearest = np.abs(theta - self._sigma) - residuals
        return bool(((residuals > slack) & (nearest < reach)).any())


def _rectangular(alphas: list[float], betas: list[float]) -> Float64[np.ndarray, "p m"]:
    """Return T̃ of A Q_m = Q_{m+1} T̃."""
    m = len(alphas)
    T = np.zeros((m + 1, m))
    T[range(m), range(m)] = alphas
    T[range(1, m + 1), range(m)] = betas
    T[range(m - 1), range(1, m)] = betas[:-1]
    return T


def _harmonic_pairs(
    T: Float64[np.ndarray, "p m"], sigma: float, rounding: float
) -> tuple[Float64[np.ndarray, "m"], Float64[np.ndarray, "m m"]]:
    """Return 1/(θ − σ) of the harmonic Ritz values θ, nearest first, and their unit vectors.

    With T̃ − σ = UΣVᵀ the inverse of A − σI is, on the orthonormal basis Q_{m+1}U of its image,
    G = UᵀQᵀ(A − σI)⁻¹QU = (first m rows of U)ᵀ VΣ⁻¹, and an eigenvector g of G is (T̃ − σ)s.
    """
    m = T.shape[1]
    shifted = T.copy()
    shifted[range(m), range(m)] -= sigma
    U, singular, Vh = np.linalg.svd(shifted, full_matrices=False)
    # Where the shifted matrix is zero, its inverse is large, but its square is no overflow.
    inverse = Vh.T / np.maximum(singular, max(rounding, np.finfo(float).tiny ** 0.4))
    G = U[:m].T @ inverse
    mu, g = np.linalg.eigh((G + G.T) / 2)
    order = np.argsort(-np.abs(mu), kind="stable")
    S = inverse @ g[:, order]
    return mu[order], S / np.linalg.norm(S, axis=0)


def _pairs(
    op: CountedOperator,
    values: Float64[np.ndarray, "k"],
    vectors: Tensor,
    residuals: Float64[np.ndarray, "k"],
    *,
    is_converged: bool,
) -> EigenPairs:
    def to_tensor(array: Float64[np.ndarray, "..."]) -> Tensor:
        return torch.tensor(array, dtype=op.dtype, device=op.device)

    return EigenPairs(
        values=to_tensor(values),
        vectors=vectors / torch.linalg.vector_norm(vectors, dim=0),
        residuals=to_tensor(residuals),
        bounds=to_tensor(np.stack((values - residuals, values + residuals), axis=1)),
        is_converged=is_converged,
        num_products=op.num_products,
        route=op.said,
    )
