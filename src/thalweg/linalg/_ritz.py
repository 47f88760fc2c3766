"""Ritz pairs: the eigenpairs of the tridiagonal matrix, and how far they are from A's."""

from dataclasses import dataclass

import numpy as np
import scipy.linalg.lapack
from jaxtyping import Float64

from thalweg._errors import OperatorError
from thalweg.linalg._lanczos import LanczosRun


@dataclass(frozen=True, eq=False)
class Ritz:
    """Eigenvalues of T, ascending, with their vectors in the basis and their residuals."""

    values: Float64[np.ndarray, "m"]
    coefficients: Float64[np.ndarray, "d m"]
    residuals: Float64[np.ndarray, "m"]

    @property
    def scale(self) -> float:
        """The largest |θ|."""
        return float(np.abs(self.values).max())


def ritz_pairs(run: LanczosRun, first: int = 0) -> Ritz:
    """Return the Ritz pairs of T from step `first` on, which must begin a block of T.

    ‖A y − θ y‖ ≤ β_m |s_m| + rounding for y = Q s, T s = θ s (Parlett 1998, sec. 13.2). The
    rounding is the run's, so that no residual is smaller than what can be known.
    """
    values, coefficients = tridiagonal_eigh(run.alphas[first:], run.betas[first:])
    residuals = run.betas[-1] * np.abs(coefficients[-1]) + run.rounding
    return Ritz(values, coefficients, residuals)


def tridiagonal_eigh(
    alphas: list[float], betas: list[float]
) -> tuple[Float64[np.ndarray, "m"], Float64[np.ndarray, "m m"]]:
    """Return the eigenvalues, ascending, and eigenvectors of T in float64."""
    # stev (QR) rather than stemr: T splits at a restart, where stemr's vectors may not be
    # orthogonal. Called directly: at these sizes eigh_tridiagonal takes longer to check its
    # arguments than to solve.
    beside = np.array(betas[:-1]) if len(alphas) > 1 else np.zeros(1)  # not read for one number
    values, vectors, info = scipy.linalg.lapack.dstev(np.array(alphas), beside)
    if info:
        raise OperatorError(f"LAPACK's dstev did not converge on a {len(alphas)}×{len(alphas)} T")
    return values, vectors
