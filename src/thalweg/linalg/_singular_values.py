"""Singular values of a matrix that can only be multiplied by, with residual bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg._untold import UNTOLD
from thalweg.linalg._basis import Basis
from thalweg.linalg._linear_operator import LinearOperator


@dataclass(frozen=True, eq=False)
class SingularTriplets:
    """Some singular values with their vectors: A v ≈ σ u and Aᵀ u ≈ σ v.

    Args:
        values: σ, from the largest down.
        left: u as columns, m×k.
        right: v as columns, n×k.
        residuals: max(‖A v − σ u‖, ‖Aᵀ u − σ v‖); within that of σ there is a singular value of A.
        is_converged: whether every residual is within the tolerance asked for.
    """

    values: Float[Tensor, " k"]
    left: Float[Tensor, "m k"] = field(metadata=UNTOLD)
    right: Float[Tensor, "n k"] = field(metadata=UNTOLD)
    residuals: Float[Tensor, " k"]
    is_converged: bool


@dataclass(frozen=True, eq=False)
class SingularValues:
    """Both ends of the singular values of a matrix.

    Args:
        largest: the k largest.
        smallest: the k smallest of the min(m, n). Unless `is_exhausted`, they are upper bounds: a
            smaller one may not have been met yet.
        shape: (m, n).
        num_products: with A and with Aᵀ together.
        is_exhausted: whether all min(m, n) singular values are known.
        route: how products were computed, in words; "" for an operator that does not say.
    """

    largest: SingularTriplets
    smallest: SingularTriplets
    shape: tuple[int, int]
    num_products: int
    is_exhausted: bool
    route: str = ""

    @property
    def condition(self) -> float:
        """σ_max/σ_min: exact to the residuals if exhausted, a lower bound if not."""
        smallest = float(self.smallest.values[-1])
        return float(self.largest.values[0]) / smallest if smallest > 0 else inf


def singular_values(
    A: LinearOperator,
    k: int = 3,
    *,
    generator: torch.Generator,
    tol: float = 1e-6,
    max_steps: int | None = None,
    dense_up_to: int = 256,
) -> SingularValues:
    """Find the k largest and the k smallest singular values.

        A V = U B,   Aᵀ U = V Bᵀ + β v eᵀ,   B bidiagonal,   |σ_i(B) − σ(A)| ≤ β |x_i|

    with x_i the last entry of the left singular vector of B. Small ones are as exact as large
    ones, to ε σ_max, while those from eigenvalues of AᵀA are lost below √ε σ_max.

    Args:
        A: an m×n operator.
        k: wanted at each end, 1 ≤ k ≤ min(m, n); fewer are returned if the matrix has fewer.
        generator: draws the start, uniform on the sphere.
        tol: wanted residual at both ends, as a share of σ_max.
        max_steps: most steps; min(m, n) at most, 20 k or 100 if left out.
        dense_up_to: up to this min(m, n) the matrix is multiplied out.

    Returns:
        `SingularValues`. [the operator's unit]

    Raises:
        OperatorError: k or max_steps out of range, or a product that is not finite.

    Cost: two products a step, one of them with Aᵀ; min(m, n) products where multiplied out.

    Source: Golub and Kahan 1965, with both bases kept orthogonal (Simon and Zha 2000); the bound
    is that of the symmetric matrix [0 A; Aᵀ 0].

    Example:
        >>> import torch
        >>> from thalweg.linalg import from_products, singular_values
        >>> M = torch.diag(torch.tensor([3.0, 2.0, 1.0]))
        >>> A = from_products(lambda v: M @ v, lambda u: M.T @ u, (3, 3))
        >>> singular_values(A, 1, generator=torch.Generator().manual_seed(0)).largest.values
        tensor([3.])
    """
    short = min(A.shape)
    if k < 1 or (max_steps is not None and max_steps < 1):
        raise OperatorError(
            f"singular_values(A, k={k}, max_steps={max_steps}): give whole numbers of 1 or more."
        )
    k = min(k, short)
    if short <= dense_up_to and (max_steps is None or max_steps >= short):
        return _dense(A, k, tol)
    is_wide = A.shape[0] < A.shape[1]
    run = _Bidiagonalisation(A.T if is_wide else A, generator)
    limit = min(short, max_steps or max(20 * k, 100))
    while run.count < limit:
        run.step()
        if run.count % 5 == 0 or run.count == limit:
            _, sizes, _ = run.svd()
            residuals = run.residuals()
            outermost = np.concatenate([residuals[:k], residuals[-k:]])
            if (outermost <= tol * sizes[0]).all() and run.count >= 2 * k:
                break
    X, sizes, Y = run.svd()
    residuals = run.residuals()
    left, right = run.left.combine(_as(X, A)), run.right.combine(_as(Y, A))
    if is_wide:
        left, right = right, left

    def at(part: slice) -> SingularTriplets:
        found = _as(residuals[part], A)
        return SingularTriplets(
            values=_as(sizes[part], A),
            left=left[:, part],
            right=right[:, part],
            residuals=found,
            is_converged=bool((residuals[part] <= tol * sizes[0]).all()),
        )

    return SingularValues(
        largest=at(slice(0, k)),
        smallest=at(slice(len(sizes) - k, len(sizes))),
        shape=A.shape,
        num_products=2 * run.count,
        is_exhausted=run.count == short,
        route=A.said,
    )


def _as(array: np.ndarray, A: LinearOperator) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device=A.device, dtype=A.dtype)


def _dense(A: LinearOperator, k: int, tol: float) -> SingularValues:
    M = A.to_dense()
    if not bool(torch.isfinite(M).all()):
        raise OperatorError(
            "singular_values(A): a product is NaN or infinite; look where that is born first."
        )
    U, sizes, Vt = torch.linalg.svd(M.double(), full_matrices=False)
    V, wide = Vt.T, M.double()
    eps = torch.finfo(A.dtype).eps * float(sizes[0])
    residuals = torch.maximum(
        (wide @ V - U * sizes).norm(dim=0), (wide.T @ U - V * sizes).norm(dim=0)
    )
    residuals = residuals + eps  # of the products themselves

    def at(part: slice) -> SingularTriplets:
        return SingularTriplets(
            sizes[part].to(M),
            U[:, part].to(M),
            V[:, part].to(M),
            residuals[part].to(M),
            bool((residuals[part] <= max(tol * float(sizes[0]), 2 * eps)).all()),
        )

    return SingularValues(
        at(slice(0, k)), at(slice(len(sizes) - k, len(sizes))), A.shape, min(A.shape), True, A.said
    )


class _Bidiagonalisation:
    """Golub–Kahan steps on a matrix that is at least as high as wide."""

    def __init__(self, A: LinearOperator, generator: torch.Generator) -> None:
        self._A, self._generator = A, generator
        m, n = A.shape
        self.left, self.right = Basis(m, A.dtype, A.device), Basis(n, A.dtype, A.device)
        self._alphas: list[float] = []
        self._betas: list[float] = []
        self._next, _ = self._orthonormal(self.right, self._drawn(n))
        self.rounding = 0.0

    @property
    def count(self) -> int:
        return len(self._alphas)

    def step(self) -> None:
        """One product with A and one with Aᵀ."""
        v = self._next
        self.right.append(v)
        p = self._product(self._A, v)
        if self.count:
            p = p - self._betas[-1] * self.left.vector(self.count - 1)
        u, alpha = self._orthonormal(self.left, p)
        self.left.append(u)
        self._alphas.append(alpha)
        r = self._product(self._A.T, u) - alpha * v
        self.rounding = max(self.rounding, 10 * self.right.eps * max(alpha, *self._alphas))
        if self.count == self._A.shape[1]:
            self._betas.append(0.0)  # nothing is left to go to
            return
        self._next, beta = self._orthonormal(self.right, r)
        self._betas.append(beta)

    def svd(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """X, σ, Y of B = X diag(σ) Yᵀ, from the largest."""
        B = np.diag(self._alphas) + np.diag(self._betas[:-1], 1)
        X, sizes, Yt = np.linalg.svd(B)
        return X, sizes, Yt.T

    def residuals(self) -> np.ndarray:
        X, _, _ = self.svd()
        found: np.ndarray = self._betas[-1] * np.abs(X[-1]) + self.rounding
        return found

    def _product(self, A: LinearOperator, v: Tensor) -> Tensor:
        product = A @ v
        if not bool(torch.isfinite(product).all()):
            raise OperatorError(
                "singular_values(A): a product is NaN or infinite; look where that is born first."
            )
        return product

    def _orthonormal(self, basis: Basis, w: Tensor) -> tuple[Tensor, float]:
        """A unit vector along the part of w outside the basis, and the length of that part."""
        rest, _ = basis.project_out(w)
        length = float(torch.linalg.vector_norm(rest))
        scale = max([*self._alphas, *self._betas, float(torch.linalg.vector_norm(w))], default=0.0)
        if length > 50 * basis.eps * scale:
            return rest / length, length
        # The space is invariant: any other direction goes on, with weight zero.
        rest, _ = basis.project_out(self._drawn(len(w)))
        rest, _ = basis.project_out(rest / torch.linalg.vector_norm(rest))
        return rest / torch.linalg.vector_norm(rest), 0.0

    def _drawn(self, size: int) -> Tensor:
        # Drawn where the generator lives, so that one seed means one vector on every device.
        drawn = torch.randn(
            size, generator=self._generator, dtype=self._A.dtype, device=self._generator.device
        )
        unit: Tensor = drawn / torch.linalg.vector_norm(drawn)
        return unit.to(self._A.device)
