"""M = Σ xᵢxᵢᵀ: positive semidefinite always, positive definite exactly when the xᵢ span."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError


@dataclass(frozen=True, eq=False)
class Minimum:
    """The only minimum of ½ xᵀMx + mᵀx + c, where M is positive definite.

    Args:
        place: −M⁻¹m.
        value: c − ½ mᵀM⁻¹m.
        rates: λᵢ of M, ascending: along eigenvector i every solution of ẋ = −Mx − m comes to it
            like e^{−λᵢt}.
        residual: ‖M x + m‖ there.
    """

    place: Float[Tensor, " n"]
    value: float
    rates: Float[Tensor, " n"]
    residual: float


@dataclass(frozen=True, eq=False)
class GramCertificate:
    """Whether xᵀMx = Σ (xᵢᵀx)² is positive for all x ≠ 0, and what shows it.

    Args:
        matrix: M (n, n).
        is_positive_definite: the xᵢ span ℝⁿ: the least singular value of their matrix X lies above
            `tol`, so far that rounding cannot have lifted it from 0.
        rank: how many singular values do.
        eigenvalues: of M, ascending: the squares of the singular values, none negative.
        tol: max(N, n) ε σ_max: what rounding moves singular values by.
        witness: where the xᵢ do not span, a unit w with xᵢᵀw = 0 for all i, so that wᵀMw = 0.
        residual: ‖Xw‖ of the witness; 0 but for rounding.
    """

    matrix: Float[Tensor, "n n"]
    is_positive_definite: bool
    rank: int
    eigenvalues: Float[Tensor, " n"]
    tol: float
    witness: Float[Tensor, " n"] | None
    residual: float

    def minimum(self, m: Float[Tensor, " n"], c: float = 0.0) -> Minimum:
        """The minimum of ½ xᵀMx + mᵀx + c.

        Raises:
            ThalwegError: if M is not positive definite: there are many, or none; says which.

        Example:
            >>> import torch
            >>> certificate = gram_certificate(torch.eye(2, dtype=torch.float64))
            >>> certificate.minimum(torch.tensor([1.0, -2.0], dtype=torch.float64)).value
            -2.5
        """
        m = m.to(self.matrix)
        if self.witness is not None:
            slope = float(m @ self.witness)
            what = (
                "it falls without end along the null vector"
                if abs(slope) > 1e-9 * float(torch.linalg.vector_norm(m))
                else "with each minimum a whole line of them along the null vector"
            )
            raise ThalwegError(
                f"½xᵀMx + mᵀx + c has no single minimum, since the {len(m)} dimensions are spanned "
                f"by {self.rank} only: {what} {_shown(self.witness)}; give vectors that span"
            )
        factor = torch.linalg.cholesky(self.matrix)
        place = -torch.cholesky_solve(m[:, None], factor)[:, 0]
        residual = float(torch.linalg.vector_norm(self.matrix @ place + m))
        return Minimum(place, c + 0.5 * float(m @ place), self.eigenvalues, residual)


def gram_certificate(vectors: Float[Tensor, "N n"]) -> GramCertificate:
    """Certifies M = Σ xᵢxᵢᵀ as positive definite, or shows a null vector.

        wᵀMw = Σ (xᵢᵀw)² ≥ 0, and = 0 exactly when w is orthogonal to every xᵢ

    Args:
        vectors: the xᵢ as rows; computed in float64.

    Returns:
        `GramCertificate`.

    Raises:
        ThalwegError: if there is no vector, or one is not finite.

    Cost: a singular value decomposition of X, O(N n²).

    Example:
        >>> import torch
        >>> found = gram_certificate(torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
        >>> found.is_positive_definite, found.rank
        (False, 1)
        >>> [round(abs(w), 4) for w in found.witness.tolist()]
        [0.7071, 0.7071]

    Source: Golub and Van Loan 2013, "Matrix computations", sec. 2.4 and 5.5.8 for the rank.
    """
    if vectors.ndim != 2 or not vectors.numel():
        raise ThalwegError(
            f"gram_certificate(x): x has shape {tuple(vectors.shape)}; give one vector a row"
        )
    X = vectors.detach().double()
    if not bool(X.isfinite().all()):
        raise ThalwegError("gram_certificate(x): a vector is NaN or infinite; give finite ones")
    n = X.shape[1]
    _, sigma, Vh = torch.linalg.svd(X, full_matrices=True)
    largest = float(sigma[0]) if len(sigma) else 0.0
    tol = max(X.shape) * torch.finfo(X.dtype).eps * largest
    rank = int((sigma > tol).sum())
    squares = torch.zeros(n, dtype=X.dtype, device=X.device)
    squares[: len(sigma)] = sigma**2
    witness = None if rank == n else Vh[-1]
    residual = 0.0 if witness is None else float(torch.linalg.vector_norm(X @ witness))
    return GramCertificate(X.T @ X, rank == n, rank, squares.flip(0), tol, witness, residual)


def _shown(vector: Tensor) -> str:
    entries = [f"{x:.4g}" for x in vector.tolist()[:6]]
    return f"({', '.join(entries)}{', …' if len(vector) > 6 else ''})"
