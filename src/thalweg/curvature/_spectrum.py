"""Spectrum: what was found of the eigenvalues of a curvature matrix, with its doubt."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf

from thalweg.linalg import (
    Alignment,
    Count,
    Density,
    EigenPairs,
    Estimate,
    Extremes,
    Inertia,
)
from thalweg.report import Page, PagedResult


@dataclass(frozen=True, eq=False)
class Spectrum(PagedResult):
    """The spectrum of a curvature matrix at a point, as far as it was found, with its doubt.

    Args:
        title: the problem's name.
        matrix: Hessian, GGN, ...; "operator" for one that was put together.
        value: L at the point [loss].
        gradient_norm: ‖∇L‖ [loss/param].
        num_parameters: n.
        num_samples: samples of the data.
        extremes: k eigenpairs at either end, with residuals and bounds [the operator's unit].
        inertia: numbers of negative, null and positive eigenvalues: exact for small n, else by the
            density.
        density: of the eigenvalues; None where all are known, in `inertia.eigenvalues`.
        trace: sum of the eigenvalues, with its standard error [the operator's unit].
        frobenius_norm: root of the sum of their squares [the operator's unit].
        effective_rank: (Σλ)²/Σλ², None where it was not taken [directions].
        alignment: share of the gradient's square in the span of the k largest eigenvectors, None
            where it was not taken [share of 1].
        omissions: what was not taken, and why.
        route: how products were computed, in words; "" for an operator that does not say.
        notes: what was done with the model otherwise than in training, in words.
        num_products: products with the matrix.
        num_gradients: cost in gradient-equivalents, None for an operator that does not say.
        seconds: cost in time.
        seed: that the generator was seeded with.
        machine: versions, device, dtype and threads, in words.
    """

    schema = "thalweg/spectrum/1"
    _also = ("headline", "index_interval")

    title: str
    matrix: str
    value: float
    gradient_norm: float
    num_parameters: int
    num_samples: int
    extremes: Extremes
    inertia: Inertia
    density: Density | None
    trace: Estimate
    frobenius_norm: Estimate
    effective_rank: Estimate | None
    alignment: Alignment | None
    omissions: dict[str, str]
    route: str
    notes: tuple[str, ...]
    num_products: int
    num_gradients: float | None
    seconds: float
    seed: int
    machine: str

    def below(self, x: float) -> Count:
        """How many eigenvalues lie below x: exact where all are known, else by density and ends.

        The interval of the density, at two standard deviations, is narrowed by the bounds of the
        outermost eigenvalues.
        """
        if self.density is None:
            return self._known(x, -1)
        return _narrowed(self.density.count_below(x), x, self.extremes.bottom, -1)

    def above(self, x: float) -> Count:
        """How many eigenvalues lie above x; see `below`."""
        if self.density is None:
            return self._known(x, 1)
        share = self.density.mass(x, inf)
        n = self.num_parameters
        count = Count(n * share.estimate, n * share.stderr, n * share.low, n * share.high)
        return _narrowed(count, x, self.extremes.top, 1)

    def _known(self, x: float, side: int) -> Count:
        values = self.inertia.eigenvalues
        assert values is not None, "a spectrum without a density is exact"
        number = int((side * values > side * x).sum())
        return Count(number, 0.0, number, number)

    @property
    def index_interval(self) -> tuple[int, int]:
        """Least and greatest number of eigenvalues below −`inertia.null_tol`; equal where exact."""
        count = self.below(-self.inertia.null_tol)
        return floor(count.low), ceil(count.high)

    @property
    def headline(self) -> str:
        """The spectrum in one sentence."""
        from thalweg.curvature._spectrum_page import headline_of

        return headline_of(self)

    def __str__(self) -> str:
        top, bottom = self.extremes.top, self.extremes.bottom
        lines = [
            f"{self.matrix} of {self.title}, {self.num_parameters:,} parameters: {self.headline}",
            f"largest {_listed(top)}   smallest {_listed(bottom)}",
            f"trace {self.trace}   Frobenius norm {self.frobenius_norm}"
            + (f"   effective rank {self.effective_rank}" if self.effective_rank else ""),
            f"{self.num_products:,} products, {self.seconds:.1f} s",
        ]
        return "\n".join(lines)

    def page(self) -> Page:
        """The spectrum as a page: the sentence first, then picture, numbers, cost and doubt."""
        from thalweg.curvature._spectrum_page import page_of

        return page_of(self)


def _narrowed(count: Count, x: float, pairs: EigenPairs, side: int) -> Count:
    """The count beyond x with what the bounds of the pairs at that end (−1: bottom) say of it."""
    beyond = side * pairs.bounds > side * x
    surely, possibly = int(beyond.all(dim=1).sum()), int(beyond.any(dim=1).sum())
    # Where not all pairs can lie beyond x, no eigenvalue further in can.
    most = count.high if possibly == len(beyond) else min(count.high, possibly)
    least = max(count.low, surely)
    most = max(most, least)
    return Count(min(max(count.estimate, least), most), count.stderr, least, most)


def _listed(pairs: EigenPairs) -> str:
    return " ".join(f"{float(value):.4g}" for value in pairs.values)
