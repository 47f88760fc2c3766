"""The spectral density: how the eigenvalues are spread, from random probes."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._inertia import Inertia
from thalweg.linalg._lanczos import LanczosRun
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._ritz import tridiagonal_eigh
from thalweg.linalg._sphere import unit_vectors

# Probe-to-probe spread is taken this many standard errors wide in a Count.
_Z = 2.0


@dataclass(frozen=True)
class Count:
    """A number of eigenvalues, estimated.

    Attributes:
        estimate: The number. [eigenvalues]
        stderr: Its standard error over probes; infinite from one probe. [eigenvalues]
        low: Lower end: quadrature bound less two standard errors, at least 0. [eigenvalues]
        high: Upper end, at most n. [eigenvalues]
    """

    estimate: float
    stderr: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Density:
    """The spectrum of a matrix, smoothed, with the error that random probes leave.

    Attributes:
        grid: Where the density is given, ascending. [the operator's unit]
        density: Mean over probes; integrates to 1. [1/the operator's unit]
        stderr: Standard error over probes on the grid; infinite from one probe. [as density]
        width: Standard deviation of the Gaussian that smooths. [the operator's unit]
        nodes: Ritz values of each probe, (p, m), ascending. [the operator's unit]
        weights: Their weights, (p, m), summing to 1 in each row; 0 where a run ended early.
        size: n.
        rounding: Doubt of any node from rounding. [the operator's unit]
        num_products: Products taken.
    """

    grid: Float64[Tensor, "g"]
    density: Float64[Tensor, "g"]
    stderr: Float64[Tensor, "g"]
    width: float
    nodes: Float64[Tensor, "p m"]
    weights: Float64[Tensor, "p m"]
    size: int
    rounding: float
    num_products: int

    def moment(self, power: int) -> Estimate:
        """Return the mean of λ^power over the spectrum, tr(A^power)/n.

        Gauss quadrature with m nodes is exact for powers below 2m, so only the probes err.

        Args:
            power: 0 ≤ power < 2m.

        Raises:
            OperatorError: the power is out of range.

        Source: Golub and Meurant 2010, thm 6.4.
        """
        limit = 2 * self.nodes.shape[1]
        if not 0 <= power < limit:
            raise OperatorError(
                f"moment({power}): a run of {limit // 2} steps knows moments 0 to {limit - 1}; "
                "take more num_steps."
            )
        each = (self.weights * self.nodes**power).sum(1)
        return Estimate(float(each.mean()), _stderr(each), self.num_products)

    def count_below(self, x: float) -> Count:
        """Return the number of eigenvalues below x, with an interval.

        For θ_k ≤ x < θ_{k+1} each probe's cumulative weight F obeys

            Σ_{i<k} w_i ≤ F(x) ≤ Σ_{i≤k+1} w_i

        whatever the spectrum. The interval is the mean of both sides over probes, widened by
        two standard errors of each; n F(x) is the count when averaged over probes.

        Source: Szegő 1939, thm 3.41.1 (Chebyshev, Markov, Stieltjes).
        """
        below = self.nodes <= x
        cumulative = self.weights.cumsum(1)
        index = below.sum(1)
        padded = torch.cat([torch.zeros_like(cumulative[:, :1]), cumulative], dim=1)
        last = padded.shape[1] - 1

        def up_to(k: Tensor) -> Float64[Tensor, "p"]:
            return padded.gather(1, k.clamp(0, last)[:, None])[:, 0]

        low, middle, high = up_to(index - 1), up_to(index), up_to(index + 1)
        n = self.size
        return Count(
            estimate=n * float(middle.mean()),
            stderr=n * _stderr(middle),
            low=max(0.0, n * (float(low.mean()) - _Z * _stderr(low))),
            high=min(float(n), n * (float(high.mean()) + _Z * _stderr(high))),
        )

    def mass(self, low: float, high: float) -> Estimate:
        """Return the share of eigenvalues between two numbers, by the nodes in between."""
        inside = ((self.nodes > low) & (self.nodes <= high)).double()
        each = (self.weights * inside).sum(1)
        return Estimate(float(each.mean()), _stderr(each), self.num_products)

    def inertia(self, null_tol: float) -> Inertia:
        """Return estimated counts of negative, null and positive eigenvalues.

        Args:
            null_tol: What counts as null. [the operator's unit]

        Raises:
            OperatorError: null_tol is negative.
        """
        if null_tol < 0:
            raise OperatorError(
                f"inertia(null_tol={null_tol}): a tolerance is not negative; give null_tol >= 0."
            )
        negative, not_positive = self.count_below(-null_tol), self.count_below(null_tol)
        at_most = not_positive.estimate
        return Inertia(
            negative=negative.estimate,
            null=max(0.0, at_most - negative.estimate),
            positive=self.size - at_most,
            interval=(math.floor(negative.low), math.ceil(not_positive.high)),
            null_tol=null_tol,
            is_exact=False,
            eigenvalues=None,
            num_products=self.num_products,
        )


def density(
    op: SymmetricOperator,
    *,
    generator: torch.Generator,
    num_probes: int = 10,
    num_steps: int = 60,
    grid_size: int = 1024,
    width: float | None = None,
) -> Density:
    """Estimate the spectral density by stochastic Lanczos quadrature.

        φ(x) = 1/n Σ_i N(x; λ_i, σ²) ≈ 1/p Σ_probes Σ_k w_k N(x; θ_k, σ²),   w_k = (e₁ᵀs_k)²

    θ_k, s_k are the eigenpairs of the tridiagonal T of a Lanczos run from each probe.

    Args:
        op: Symmetric n×n operator.
        generator: Draws the probes, uniform on the sphere.
        num_probes: p.
        num_steps: Lanczos steps a probe, m.
        grid_size: Points of the grid.
        width: σ; a hundredth of the spread of the nodes when left out. [the operator's unit]

    Returns:
        A `Density`.

    Raises:
        OperatorError: a count below 1, or a width that is not positive; a product is NaN or
            infinite.

    Cost: p·m products, m vectors of memory.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, density
        >>> op = MatrixOperator(torch.diag(torch.linspace(-1.0, 1.0, 100).double()))
        >>> estimate = density(op, generator=torch.Generator().manual_seed(0))
        >>> abs(estimate.count_below(0.0).estimate - 50) < 5
        True

    Source: Ubaru, Chen and Saad 2017, SIAM J. Matrix Anal. Appl. 38; Lin, Saad and Yang 2016
    for the smoothing. Full reorthogonalisation, and the band, are ours.
    """
    for name, value in [
        ("num_probes", num_probes), ("num_steps", num_steps), ("grid_size", grid_size)
    ]:  # fmt: skip
        if value < 1:
            raise OperatorError(f"density(op, {name}={value}): give {name} >= 1.")
    if width is not None and not width > 0:
        raise OperatorError(f"density(op, width={width}): give a positive width.")
    counted = CountedOperator(op, "density")
    nodes = np.zeros((num_probes, num_steps))
    weights = np.zeros((num_probes, num_steps))
    rounding = 0.0
    for p, probe in enumerate(unit_vectors(op, num_probes, generator).T):
        run = LanczosRun(counted, probe)
        run.extend(num_steps)
        values, vectors = tridiagonal_eigh(run.alphas, run.betas)
        steps = run.num_steps
        nodes[p, :steps], weights[p, :steps] = values, vectors[0] ** 2
        # A run that ended early repeats its last node with no weight, so that rows stay sorted.
        nodes[p, steps:] = values[-1]
        rounding = max(rounding, run.rounding)
    low, high = float(nodes.min()), float(nodes.max())
    if width is None:
        width = (high - low) / 100 or max(abs(high), 1.0) * 1e-3
    grid = np.linspace(low - 4 * width, high + 4 * width, grid_size)
    each = np.stack([_smoothed(grid, *pair, width) for pair in zip(nodes, weights, strict=True)])
    return Density(
        grid=torch.from_numpy(grid),
        density=torch.from_numpy(each.mean(0)),
        stderr=torch.from_numpy(each.std(0, ddof=1) / math.sqrt(num_probes))
        if num_probes > 1
        else torch.full((grid_size,), math.inf, dtype=torch.float64),
        width=width,
        nodes=torch.from_numpy(nodes),
        weights=torch.from_numpy(weights),
        size=op.size,
        rounding=rounding,
        num_products=counted.num_products,
    )


def _smoothed(
    grid: Float64[np.ndarray, "g"],
    nodes: Float64[np.ndarray, "m"],
    weights: Float64[np.ndarray, "m"],
    width: float,
) -> Float64[np.ndarray, "g"]:
    distance = (grid[:, None] - nodes) / width
    bells = np.exp(-(distance**2) / 2) / (width * math.sqrt(2 * math.pi))
    smoothed: Float64[np.ndarray, "g"] = bells @ weights
    return smoothed


def _stderr(each: Float64[Tensor, "p"]) -> float:
    """The standard error of the mean over probes; infinite from one."""
    return float(each.std() / math.sqrt(len(each))) if len(each) > 1 else math.inf
