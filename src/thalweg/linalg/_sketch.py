"""A sketch of a matrix by random probes, and by all of them but one."""

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.linalg._counted import CountedOperator

ROUNDINGS = 10.0
"""Roundings allowed to a number summed from products: as in a Lanczos run."""


class Sketch:
    """Two products a probe: what A does to probes ωᵢ, and to the space that its answers span.

        Y = A Ω,   Q = orth Y,   Z = A Q,   H = QᵀAQ,   QᵢQᵢᵀ = Q(I − sᵢsᵢᵀ)Qᵀ,   Pᵢ = I − QᵢQᵢᵀ

    Qᵢ is the orth of Y without column i, so Pᵢ is independent of ωᵢ: an estimate of what Pᵢ leaves
    of A, made with ωᵢ, is unbiased, and every probe serves as sketch and as sample. This is the
    device of Epperly, Tropp and Webber 2024. We differ: sᵢ is taken from a singular value
    decomposition of R instead of R⁻ᵀ, so that a rank-deficient Y, where dropping a column loses
    nothing (sᵢ = 0), needs no other algorithm.

    Attributes:
        omega: Ω, the probes.
        Y: A Ω.
        Q: Orthonormal basis of the answers.
        S: s₁ … s_m as columns.
        Z: A Q.
        H: QᵀAQ.
        rest: Pᵢωᵢ as columns.
        image: A Pᵢωᵢ as columns.
        rank: n − rank Qᵢ of each.
    """

    def __init__(self, op: CountedOperator, omega: Float[Tensor, "n m"]) -> None:
        self.omega = omega
        self.Y = op @ omega
        self.Q, self.S = _leave_one_out(self.Y)
        self.Z = op @ self.Q
        self.H = self.Q.T @ self.Z
        X = self._without_own(self.Q.T @ omega)
        self.rest = omega - self.Q @ X
        self.image = self.Y - self.Z @ X
        # Rank of Pᵢ: one more where leaving column i out shrinks the space.
        self.rank = op.size - self.Q.shape[1] + (self.S * self.S).sum(dim=0)

    def _without_own(self, X: Float[Tensor, "r m"]) -> Float[Tensor, "r m"]:
        """Return (I − sᵢsᵢᵀ)xᵢ."""
        return X - self.S * (self.S * X).sum(dim=0)

    def remainder(self) -> Float[Tensor, "n m"]:
        """Return PᵢA Pᵢωᵢ as columns: what ωᵢ sees of the matrix that the others left."""
        return self.image - self.Q @ self._without_own(self.Q.T @ self.image)

    def captured_trace(self) -> Float[Tensor, "m"]:
        """Return tr(QᵢᵀAQᵢ)."""
        return self.H.trace() - (self.S * (self.H @ self.S)).sum(dim=0)

    def captured_square(self) -> Float[Tensor, "m"]:
        """Return ‖A − PᵢA Pᵢ‖_F² = 2‖A Qᵢ‖_F² − ‖QᵢᵀAQᵢ‖_F²."""
        ZS, HS = self.Z @ self.S, self.H @ self.S
        wide = (self.Z * self.Z).sum() - (ZS * ZS).sum(dim=0)
        own = (self.S * HS).sum(dim=0)
        core = (self.H * self.H).sum() - 2 * (HS * HS).sum(dim=0) + own * own
        return 2 * wide - core


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
