"""The spectral density: where the eigenvalues lie, all of them at once."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._count import Count
from thalweg.linalg._counted import CountedOperator
from thalweg.linalg._estimate import Estimate
from thalweg.linalg._inertia import Inertia
from thalweg.linalg._lanczos import LanczosRun, extend_together
from thalweg.linalg._operator import SymmetricOperator
from thalweg.linalg._ritz import tridiagonal_eigh
from thalweg.linalg._sphere import unit_vectors

# Width of an interval in standard deviations of the probes: 95 %.
_Z = 2.0
# The grid reaches this many kernel widths beyond the outermost nodes: 2e-9 of a Gaussian is cut.
_MARGIN = 6.0
# Probes whose bases fit into this run side by side, so that their products are taken as blocks.
_BASES_BYTES = 2**27


@dataclass(frozen=True, eq=False)
class Density:
    """The spectrum as a measure of mass 1: one Gauss quadrature per probe, and their mean.

        μ(x) = (1/n) #{λ < x} ≈ mean over probes of Σ_k w_k [θ_k < x]

    All tensors are float64 on the CPU.

    Attributes:
        nodes: Ritz values of each probe, ascending; p probes, m steps. [eigenvalue]
        weights: Their weights, which sum to 1 per probe; 0 pads a run that broke down early.
        is_exhausted: Which probes ran into an invariant space: their nodes are eigenvalues, and
            their quadrature is exact.
        grid: Points at which the density is drawn. [eigenvalue]
        density: On the grid, a Gaussian of `width` at every node. [1/eigenvalue]
        stderr: Standard error of `density` over the probes. [1/eigenvalue]
        width: Standard deviation of the Gaussian. [eigenvalue]
        rounding: Doubt of a node by rounding and asymmetry. [eigenvalue]
        size: n.
        num_products: Products taken.
        route: How products were computed, in words; "" for an operator that does not say.
    """

    nodes: Float64[Tensor, "p m"]
    weights: Float64[Tensor, "p m"]
    is_exhausted: Bool[Tensor, "p"]
    grid: Float64[Tensor, "g"]
    density: Float64[Tensor, "g"]
    stderr: Float64[Tensor, "g"]
    width: float
    rounding: float
    size: int
    num_products: int
    route: str = ""

    def moment(self, power: int) -> Estimate:
        """Estimate a moment of the spectrum.

            ∫ λᵖ dμ = tr(Aᵖ)/n ≈ mean over probes of Σ_k w_k θ_kᵖ

        Args:
            power: p, 0 ≤ p ≤ 2m − 1 for m steps, up to which the quadrature is exact; any p ≥ 0
                where every probe is exhausted.

        Returns:
            `Estimate` of the mean of λᵖ, unbiased. [eigenvalueᵖ]

        Raises:
            OperatorError: The power is out of range.

        Cost: no products.

        Example:
            >>> import torch
            >>> from thalweg.linalg import MatrixOperator, density
            >>> op = MatrixOperator(2.0 * torch.eye(50))
            >>> round(density(op, generator=torch.Generator().manual_seed(0)).moment(3).value, 4)
            8.0

        Source: Golub and Meurant 2010, ch. 6 (exactness); probes uniform on the sphere have
        E[(uᵀv)²] = 1/n for every unit v.
        """
        highest = 2 * self.nodes.shape[1] - 1
        if power < 0 or (power > highest and not bool(self.is_exhausted.all())):
            raise OperatorError(
                f"Density.moment(power={power}): {self.nodes.shape[1]} steps are exact for powers "
                f"0 to {highest}; ask density(op, num_steps={max(power, 0) // 2 + 1}) for more."
            )
        each = (self.weights * self.nodes**power).sum(dim=1)
        largest = float(self.nodes.abs().max())
        floor = power * largest ** (power - 1) * self.rounding if power > 0 else 0.0
        return Estimate(
            float(each.mean()), math.hypot(_stderr(each), floor), self.num_products, self.route
        )

    def count_below(self, x: float) -> Count:
        """Estimate how many eigenvalues lie below x, with an interval.

            n Σ_{i ≤ k−1} w_i ≤ n F(x) ≤ n Σ_{i ≤ k+1} w_i   for θ_k < x ≤ θ_{k+1}

        The inequality is rigorous for the spectral measure F of each probe; an exhausted probe
        needs none, its atoms are known. Over probes on the sphere n F(x) varies around the count
        K by a known law, Beta(K/2, (n − K)/2), of variance 2f(1 − f)/(n + 2) at f = K/n. The
        interval holds every K that lies within 2 standard deviations of the mean of either side.

        Args:
            x: The bound. [eigenvalue]

        Returns:
            `Count`, its interval clipped to [0, n]. [eigenvalues]

        Cost: no products.

        Example:
            >>> import torch
            >>> from thalweg.linalg import MatrixOperator, density
            >>> op = MatrixOperator(torch.diag(torch.linspace(-1.0, 1.0, 200)))
            >>> count = density(op, generator=torch.Generator().manual_seed(0)).count_below(0.0)
            >>> count.low <= 100 <= count.high
            True

        Source: the Chebyshev-Markov-Stieltjes inequalities (Szegő 1939, sec. 3.41); the score
        interval of Wilson 1927, with p(n + 2)/2 in the place of his sample size. We differ: x is
        moved by the rounding of a node to either side.
        """
        return self._count(-math.inf, x, self.size)

    def mass(self, low: float, high: float) -> Count:
        """Estimate the share of eigenvalues in [low, high), with an interval.

            μ([low, high)) = (1/n) #{low ≤ λ < high}

        Args:
            low: Lower end, −inf allowed. [eigenvalue]
            high: Upper end, inf allowed. [eigenvalue]

        Returns:
            `Count`, its interval clipped to [0, 1]. [share of 1]

        Raises:
            OperatorError: low is not below high.

        Cost: no products.

        Example:
            >>> import math, torch
            >>> from thalweg.linalg import MatrixOperator, density
            >>> op = MatrixOperator(torch.eye(50))
            >>> density(op, generator=torch.Generator().manual_seed(0)).mass(0.5, math.inf).low
            1.0

        Source: as `count_below`, at both ends.
        """
        if not low < high:
            raise OperatorError(
                f"Density.mass({low}, {high}): the interval is empty; give low < high."
            )
        return self._count(low, high, 1)

    def inertia(self, null_tol: float) -> Inertia:
        """Estimate the counts of negative, null and positive eigenvalues.

            negative = #{λ < −τ},   null = #{|λ| ≤ τ},   positive = #{λ > τ}

        Args:
            null_tol: τ, below which |λ| counts as null. [eigenvalue]

        Returns:
            `Inertia` with `is_exact` False; its interval runs from the low end of the count
            below −τ to the high end of the count up to τ, as whole numbers. [eigenvalues]

        Raises:
            OperatorError: null_tol is negative.

        Cost: no products.

        Example:
            >>> import torch
            >>> from thalweg.linalg import MatrixOperator, density
            >>> op = MatrixOperator(torch.diag(torch.linspace(-1.0, 1.0, 200)))
            >>> count = density(op, generator=torch.Generator().manual_seed(0)).inertia(1e-3)
            >>> count.interval[0] <= 100 <= count.interval[1]
            True

        Source: as `count_below`.
        """
        if null_tol < 0:
            raise OperatorError(
                f"Density.inertia(null_tol={null_tol}): a tolerance is not negative; give "
                "null_tol >= 0."
            )
        above = math.nextafter(null_tol, math.inf)
        below, upto = self.count_below(-null_tol), self.count_below(above)
        return Inertia(
            negative=below.estimate,
            null=upto.estimate - below.estimate,
            positive=self.size - upto.estimate,
            interval=(math.floor(below.low), math.ceil(upto.high)),
            null_tol=null_tol,
            is_exact=False,
            eigenvalues=None,
            num_products=self.num_products,
            route=self.route,
        )

    def _count(self, low: float, high: float, unit: int) -> Count:
        """Bracket the mass in [low, high), times `unit`."""
        least_low, share_low, most_low = self._below(low)
        least_high, share_high, most_high = self._below(high)
        each = unit * (share_high - share_low)
        return Count(
            estimate=float(each.mean()),
            stderr=_stderr(each),
            low=unit * self._score((least_high - most_low).clamp(min=0.0), -1),
            high=unit * self._score((most_high - least_low).clamp(max=1.0), 1),
        )

    def _score(self, share: Float64[Tensor, "p"], side: int) -> float:
        """Return the outermost f whose probes' mean is within z deviations of this one.

        (F − f)² = z² f(1 − f)/N, solved for f on the given side of F.
        """
        # One probe without any mass there knows that nothing is there, and so does one with all.
        if side > 0 and bool((share == 0).any()):
            return 0.0
        if side < 0 and bool((share == 1).any()):
            return 1.0
        F, N = float(share.mean()), len(share) * (self.size + 2) / 2
        half = _Z * math.sqrt(F * (1 - F) / N + (_Z / (2 * N)) ** 2)
        return min(max((F + _Z**2 / (2 * N) + side * half) / (1 + _Z**2 / N), 0.0), 1.0)

    def _below(self, x: float) -> tuple[Tensor, Tensor, Tensor]:
        """For each probe, bound, estimate and bound the mass below x."""
        p, m = self.nodes.shape
        if math.isinf(x):
            share = torch.full((p,), 1.0 if x > 0 else 0.0, dtype=torch.float64)
            return share, share, share
        zero = torch.zeros(p, 1, dtype=torch.float64)
        cumulative = torch.cat([zero, self.weights.cumsum(dim=1)], dim=1)
        # All of a probe is 1, not 1 − ε.
        cumulative = cumulative / cumulative[:, -1:]

        def up_to(place: Tensor) -> Tensor:
            return cumulative.gather(1, place.clamp(0, m)[:, None])[:, 0]

        def place(bound: float) -> Tensor:
            return (self.nodes < bound).sum(dim=1)

        # Between two nodes the quadrature is undecided by one node on either side.
        undecided = (~self.is_exhausted).long()
        return (
            up_to(place(x - self.rounding) - undecided),
            up_to(place(x)),
            up_to(place(x + self.rounding) + undecided),
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

        φ(t) = (1/n) Σ_i g(t − λ_i) ≈ mean over probes u of Σ_k w_k g(t − θ_k)

    with θ_k the Ritz values of a Lanczos run started at u, w_k the squared first entries of
    their vectors, and g a Gaussian of standard deviation `width`.

    Args:
        op: Symmetric n×n operator.
        generator: Draws the probes, uniform on the sphere.
        num_probes: p.
        num_steps: Lanczos steps per probe; at most n are taken.
        grid_size: Points of the grid, which reaches 6 widths beyond the outermost nodes.
        width: Standard deviation of the Gaussian; when left out (θ_max − θ_min)/m, which is as
            narrow as m steps can resolve: up to e⁻⁸ such a Gaussian is a polynomial of the
            degree 2m − 1 that the quadrature integrates exactly. [eigenvalue]

    Returns:
        `Density`; it integrates to 1 over its grid, and its stderr is infinite for one probe.

    Raises:
        OperatorError: A count is below 1, the width is not positive or too narrow for the
            grid, or a product is NaN or infinite.

    Cost: p·m products; m vectors of memory, or those of several probes up to 128 MiB.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatrixOperator, density
        >>> op = MatrixOperator(torch.diag(torch.linspace(0.0, 1.0, 100)))
        >>> found = density(op, generator=torch.Generator().manual_seed(0), num_steps=20)
        >>> round(float(torch.trapezoid(found.density, found.grid)), 4)
        1.0

    Source: Lin, Saad and Yang 2016, SIAM Rev. 58; Ubaru, Chen and Saad 2017, SIAM J. Matrix
    Anal. Appl. 38; for networks Ghorbani, Krishnan and Xiao 2019. We differ: full
    reorthogonalisation, probes on the sphere instead of signs, a width from the number of
    steps, the spread over the probes as a band.
    """
    for name, count, least in (
        ("num_probes", num_probes, 1),
        ("num_steps", num_steps, 1),
        ("grid_size", grid_size, 2),
    ):
        if count < least:
            raise OperatorError(f"density(op, {name}={count}): give {name} >= {least}.")
    counted = CountedOperator(op, "density")
    probes = _probes(counted, num_probes, num_steps, generator)
    nodes, weights = _pad(probes, min(num_steps, op.size))
    width = _default_width(nodes) if width is None else width
    grid = _grid(nodes, width, grid_size)
    each = torch.stack([_smooth(*pair, grid, width) for pair in zip(nodes, weights, strict=True)])
    return Density(
        nodes=nodes,
        weights=weights,
        is_exhausted=torch.tensor([probe.is_exhausted for probe in probes]),
        grid=grid,
        density=each.mean(dim=0),
        stderr=each.std(dim=0) / math.sqrt(num_probes)
        if num_probes > 1
        else torch.full_like(grid, math.inf),
        width=width,
        rounding=max(probe.rounding for probe in probes),
        size=op.size,
        num_products=counted.num_products,
        route=counted.said,
    )


@dataclass(frozen=True, eq=False)
class _Quadrature:
    """The Gauss quadrature of one probe."""

    nodes: Float64[np.ndarray, "m"]
    weights: Float64[np.ndarray, "m"]
    rounding: float
    is_exhausted: bool


def _probes(
    op: CountedOperator, num_probes: int, num_steps: int, generator: torch.Generator
) -> list[_Quadrature]:
    """Run Lanczos from random probes, as many side by side as their bases leave room for.

    After a breakdown there is no more to know of a probe. A restart would add nodes of another
    one, so there is none.
    """
    bytes_each = min(num_steps, op.size) * op.size * torch.finfo(op.dtype).bits // 8
    together = max(1, min(num_probes, _BASES_BYTES // bytes_each))
    found: list[_Quadrature] = []
    while len(found) < num_probes:
        count = min(together, num_probes - len(found))
        runs = [LanczosRun(op, unit_vectors(op, 1, generator)[:, 0]) for _ in range(count)]
        extend_together(op, runs, num_steps)
        found += [_quadrature(run) for run in runs]
    return found


def _quadrature(run: LanczosRun) -> _Quadrature:
    values, vectors = tridiagonal_eigh(run.alphas, run.betas)
    return _Quadrature(values, vectors[0] ** 2, run.rounding, run.is_invariant)


def _pad(
    probes: list[_Quadrature], length: int
) -> tuple[Float64[Tensor, "p m"], Float64[Tensor, "p m"]]:
    """Stack quadratures of unequal length; padding repeats the last node, without weight."""
    nodes, weights = [], []
    for probe in probes:
        missing = (0, length - len(probe.nodes))
        nodes.append(np.pad(probe.nodes, missing, mode="edge"))
        weights.append(np.pad(probe.weights, missing))
    return torch.from_numpy(np.stack(nodes)), torch.from_numpy(np.stack(weights))


def _default_width(nodes: Float64[Tensor, "p m"]) -> float:
    """One m-th of the spread; a spectrum that is one point has 1 % of it, or 1 at zero."""
    spread = float(nodes.max() - nodes.min())
    largest = float(nodes.abs().max())
    # Below this the spread is rounding, and 1024 points could not tell it from one.
    if spread <= 1e-6 * largest or largest == 0.0:
        return 0.01 * largest or 1.0
    return spread / nodes.shape[1]


def _grid(nodes: Float64[Tensor, "p m"], width: float, grid_size: int) -> Float64[Tensor, "g"]:
    """Lay the grid, and refuse one on which the Gaussians would fall between the points."""
    low, high = float(nodes.min()), float(nodes.max())
    if not width > 0:
        raise OperatorError(f"density(op, width={width}): give a positive width, or leave it out.")
    reach = high - low + 2 * _MARGIN * width
    if reach > width * (grid_size - 1):
        raise OperatorError(
            f"density(op, grid_size={grid_size}, width={width:.3g}): Gaussians of this width fall "
            f"between the grid's points; give grid_size={math.ceil(reach / width) + 1} or more, "
            "or a larger width."
        )
    return torch.linspace(
        low - _MARGIN * width, high + _MARGIN * width, grid_size, dtype=torch.float64
    )


def _smooth(
    nodes: Float64[Tensor, "m"],
    weights: Float64[Tensor, "m"],
    grid: Float64[Tensor, "g"],
    width: float,
) -> Float64[Tensor, "g"]:
    """Return Σ_k w_k g(t − θ_k) on the grid."""
    distance = (grid[:, None] - nodes) / width
    return torch.exp(-0.5 * distance**2) @ weights / (width * math.sqrt(2 * math.pi))


def _stderr(each: Float64[Tensor, "p"]) -> float:
    """Return the standard error of the mean over the probes; infinite for one."""
    return float(each.std()) / math.sqrt(len(each)) if len(each) > 1 else math.inf
