"""The log-determinant of a shifted positive semidefinite matrix, from products alone."""

import math
from dataclasses import dataclass

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._ritz import tridiagonal_eigh
from thalweg.linalg._sphere import unit_vectors

# A probe goes on until its quadrature is known to this share of what the probes will spread.
_SHARE = 0.2
_STRIDE = 4


def log_determinant(
    op: SymmetricOperator,
    shift: float,
    *,
    generator: torch.Generator,
    num_probes: int = 10,
    num_steps: int = 30,
) -> Estimate:
    """Estimate log det(A + σI) of a positive semidefinite A.

        Â = AQ(QᵀAQ)⁻¹QᵀA ⪯ A,   P = Â + σI,   N = P^{-1/2}(A + σI)P^{-1/2} ⪰ I
        log det(A + σI) = log det P + tr log N
        tr log N ≈ mean over probes u of n uᵀ(log N)u

    One Lanczos run gives Q and with it the Nyström approximation Â, whose logarithms are exact;
    probes see only what it left. Each runs Lanczos on N, and its quadrature is bracketed: the Gauss
    rule is never below uᵀ(log N)u, the Gauss-Radau rule with a node at 1 never above it. A probe
    stops when that bracket is narrow beside the spread of the probes, or after num_steps.

    Args:
        op: Symmetric positive semidefinite n×n operator, such as a GGN or a Fisher matrix.
        shift: σ > 0, well above the rounding of the products. [the operator's unit]
        generator: Draws the start and the probes, uniform on the sphere.
        num_probes: p.
        num_steps: Lanczos steps of the first run, and at most of each probe.

    Returns:
        `Estimate`; its stderr is the root of three squares: spread of the probes, half the bracket
        (a bound of the quadrature's bias), and rounding; infinite from one probe unless nothing
        was left to it. [nats, of the operator's unit]

    Raises:
        OperatorError: σ is not positive or below rounding, a count is below 1, a direction of
            negative curvature was met; a product is NaN or infinite.

    Cost: at most (p + 1)·num_steps products, n where that is fewer; 2·num_steps vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, log_determinant
        >>> op = MatrixOperator(torch.diag(torch.tensor([7.0, 1.0, 0.0])))
        >>> found = log_determinant(op, 1.0, generator=torch.Generator().manual_seed(0))
        >>> round(found.value, 4)  # log(8 · 2 · 1)
        2.7726

    Source: quadrature and bracket by Golub and Meurant 2010, ch. 6; stochastic Lanczos quadrature
    by Ubaru, Chen and Saad 2017; log det P apart from the rest by Wenger and others 2022
    (Preconditioning for scalable Gaussian process hyperparameter optimization, ICML). We differ: Â
    from a Lanczos run, which makes the node at 1 certain; n‖u − QQᵀu‖², whose mean n − m is known,
    serves as control variate, so that a spectrum that is flat beyond Â has no spread; each probe
    stops by itself. Measured with as many products (n = 1500, 70 to 330), the error is 0.1 to 1.1
    of plain quadrature's, the less the more Â holds.
    """
    _check_arguments(shift, num_probes, num_steps)
    n = op.size
    counted = CountedOperator(op, "log_determinant")
    if n <= (num_probes + 1) * num_steps:
        return _exact(counted, shift)
    preconditioned = _Preconditioned(counted, shift, num_steps, generator)
    probes = [_probe(preconditioned, num_probes, num_steps, generator) for _ in range(num_probes)]
    value, spread = _combine(probes, n, n - preconditioned.rank)
    bias = float(np.mean([probe.gauss - probe.radau for probe in probes])) / 2
    floor = preconditioned.rounding * math.sqrt(n)
    return Estimate(
        preconditioned.log_determinant + value,
        math.hypot(spread, bias, floor),
        counted.num_products,
        counted.said,
    )


def _check_arguments(shift: float, num_probes: int, num_steps: int) -> None:
    if not (shift > 0 and math.isfinite(shift)):
        raise OperatorError(
            f"log_determinant(op, shift={shift}): the logarithm needs a positive definite "
            "A + shift·I; give a shift > 0."
        )
    for name, count in (("num_probes", num_probes), ("num_steps", num_steps)):
        if count < 1:
            raise OperatorError(f"log_determinant(op, shift, {name}={count}): give {name} >= 1.")


def _exact(op: CountedOperator, shift: float) -> Estimate:
    """Diagonalise the whole matrix."""
    values = np.linalg.eigvalsh(op.to_dense().double().cpu().numpy())
    largest = float(np.abs(values).max())
    rounding = torch.finfo(op.dtype).eps * largest
    _check_positive(float(values[0]), op.size * rounding, shift)
    _check_shift(shift, 10.0 * rounding)
    shifted = np.maximum(values, 0.0) + shift
    floor = 10.0 * rounding * float(np.sqrt((1 / shifted**2).sum()))
    return Estimate(float(np.log(shifted).sum()), floor, op.num_products, op.said)


def _check_positive(lowest: float, rounding: float, shift: float) -> None:
    if lowest < -rounding:
        raise OperatorError(
            f"log_determinant(op, shift={shift}): curvature {lowest:.3g} was met, and A must be "
            f"positive semidefinite; give point.ggn(), or with some c >= {-lowest:.3g} and below "
            "the shift log_determinant(op.shifted(c), shift - c)."
        )


def _check_shift(shift: float, rounding: float) -> None:
    if shift <= rounding:
        raise OperatorError(
            f"log_determinant(op, shift={shift}): eigenvalues near 0 are known to {rounding:.2g} "
            f"only, which the logarithm would show as noise; give a shift well above that, or "
            "multiply in float64."
        )


class _Preconditioned(SymmetricOperator):
    """N = P^{-1/2}(A + σI)P^{-1/2} for P = Â + σI with Â = Q T̂ Qᵀ from one Lanczos run.

    The run's last vector lies in the image of the others, A Q_{m−1} = Q_m T̃, so that T̂ = T̃ T⁻¹ T̃ᵀ
    is the run's T but for its last corner.
    """

    def __init__(
        self, op: CountedOperator, shift: float, num_steps: int, generator: torch.Generator
    ) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op, self._shift = op, shift
        run = LanczosRun(op, unit_vectors(op, 1, generator)[:, 0])
        run.extend(num_steps)
        lowest = float(tridiagonal_eigh(run.alphas, run.betas)[0][0])
        _check_positive(lowest, run.rounding, shift)
        _check_shift(shift, run.rounding)
        alphas = np.array(run.alphas)
        if not run.is_invariant:
            alphas[-1] = _corner(run)
        values, self._U = scipy.linalg.eigh_tridiagonal(
            alphas, np.array(run.betas[:-1]), lapack_driver="stev"
        )
        values = np.maximum(values, 0.0) + shift
        self._Q = run.basis.to_tensor()
        # P^{-1/2} − σ^{-1/2}, on the space of Q.
        core = (self._U * (values**-0.5 - shift**-0.5)) @ self._U.T
        self._core = torch.from_numpy(core).to(dtype=op.dtype, device=op.device)
        self.rank = len(values)
        self.rounding = run.rounding / shift
        self.log_determinant = float(np.log(values).sum()) + (op.size - self.rank) * math.log(shift)

    def _root(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        """Return P^{-1/2} V."""
        return V / math.sqrt(self._shift) + self._Q @ (self._core @ (self._Q.T @ V))

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        W = self._root(V)
        return self._root(self._op @ W + self._shift * W)

    def check_above_one(self, run: LanczosRun) -> None:
        """Refuse a matrix of whose negative curvature this run is the first to see something."""
        values, vectors = tridiagonal_eigh(run.alphas, run.betas)
        slack = run.rounding + self.rounding
        if values[0] >= 1.0 - slack:
            return
        y = run.basis.combine(torch.from_numpy(vectors[:, :1].copy()))
        w = self._root(y)[:, 0]
        # wᵀ(A + σI)w/wᵀw, for the vector w whose quotient N shows.
        quotient = float(values[0]) * float(y.norm() / w.norm()) ** 2
        _check_positive(quotient - self._shift, slack * self._shift, self._shift)

    def project_out(self, u: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """Return u − QQᵀu."""
        return u - self._Q @ (self._Q.T @ u)


def _corner(run: LanczosRun) -> float:
    """Return β² e_{m−1}ᵀT⁻¹e_{m−1}, at most α_m because A is positive semidefinite."""
    if run.num_steps == 1:
        return 0.0
    values, vectors = tridiagonal_eigh(run.alphas[:-1], run.betas[:-1])
    is_seen = values > run.rounding
    corner = run.betas[-2] ** 2 * (vectors[-1, is_seen] ** 2 / values[is_seen]).sum()
    return min(float(corner), max(run.alphas[-1], 0.0))


@dataclass(frozen=True)
class _Probe:
    """What a probe u sees of F = log N, and of R = I − QQᵀ whose trace is known, times n.

    uᵀFu lies between `radau` and `gauss`; ‖Fu‖², uᵀRFu and ‖Ru‖² are `square`, `cross`, `outside`.
    """

    gauss: float
    radau: float
    square: float
    cross: float
    outside: float


def _probe(
    N: _Preconditioned, num_probes: int, num_steps: int, generator: torch.Generator
) -> _Probe:
    """Extend one run on N until its bracket is narrow."""
    n = N.size
    u = unit_vectors(N, 1, generator)[:, 0]
    run = LanczosRun(CountedOperator(N, "log_determinant"), u)
    while True:
        run.extend(min(_STRIDE, num_steps - run.num_steps))
        N.check_above_one(run)
        values, vectors = tridiagonal_eigh(run.alphas, run.betas)
        logs, weights = np.log(np.maximum(values, 1.0)), vectors[0] ** 2
        gauss, square = n * float(weights @ logs), n * float(weights @ logs**2)
        radau = gauss if run.is_invariant else min(gauss, n * _radau(run, values, vectors))
        expected = math.sqrt(2 * max(square - gauss**2 / n, 0.0) / num_probes)
        is_narrow = gauss - radau <= max(_SHARE * expected, math.sqrt(n) * N.rounding)
        if is_narrow or run.is_invariant or run.num_steps >= num_steps:
            break
    image = run.basis.combine(torch.from_numpy(vectors @ (logs * vectors[0]))[:, None])[:, 0]
    outer = N.project_out(u)
    return _Probe(gauss, radau, square, n * float(outer @ image), n * float(outer @ outer))


def _radau(
    run: LanczosRun, values: Float64[np.ndarray, "m"], vectors: Float64[np.ndarray, "m m"]
) -> float:
    """Return the Gauss-Radau quadrature of log with a node at 1."""
    above = np.maximum(values - 1.0, run.rounding)
    corner = 1.0 + run.betas[-1] ** 2 * float((vectors[-1] ** 2 / above).sum())
    nodes, extended = tridiagonal_eigh([*run.alphas, corner], [*run.betas, 0.0])
    return float(extended[0] ** 2 @ np.log(np.maximum(nodes, 1.0)))


def _combine(probes: list[_Probe], n: int, complement: int) -> tuple[float, float]:
    """Return the mean of tr F over the probes, and its standard error.

    Each is freed of what R explains, tr F ≈ n uᵀFu − c(n‖Ru‖² − tr R), with the c that makes F − cR
    least taken from the other probes, so that each number is unbiased. The spread follows from
    the law of the sphere, Var(n uᵀGu) = 2n/(n + 2)·(‖G‖_F² − tr(G)²/n) for G = F − cR, known far
    better than by the scatter of p numbers, which counts where it is the larger.
    """
    p = len(probes)
    x = np.array([(probe.gauss + probe.radau) / 2 for probe in probes])
    squares, cross, outside = (
        np.array([getattr(probe, name) for probe in probes])
        for name in ("square", "cross", "outside")
    )
    if p == 1:
        return float(x[0]), math.sqrt(2 * max(float(squares[0] - x[0] ** 2 / n), 0.0))
    tiny = np.finfo(float).tiny
    others = (cross.sum() - cross) / np.maximum(outside.sum() - outside, tiny)
    each = x - others * (outside - complement)
    c = cross.sum() / max(outside.sum(), tiny)
    variance = float((squares - 2 * c * cross + c**2 * outside).mean())
    variance -= float(x.mean() - c * outside.mean()) ** 2 / n
    law = math.sqrt(2 * max(variance, 0.0))
    return float(each.mean()), max(law, float(each.std(ddof=1))) / math.sqrt(p)
