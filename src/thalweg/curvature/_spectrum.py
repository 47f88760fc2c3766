"""Spectrum: what was found of the eigenvalues of a curvature matrix, with its doubt."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf

from jaxtyping import Float64
from torch import Tensor

from thalweg.linalg import (
    Alignment,
    Count,
    Density,
    EigenPairs,
    Estimate,
    Extremes,
    Inertia,
)
from thalweg.report import Interrupted, Page, PagedResult

NULL_SHARE = 1e-3
"""Where eigenvalues are not all known, those below this share of max|λ| are null: many lie so close
to zero that no quadrature could count on which side."""


class InterruptedSpectrum(Interrupted):
    """Ctrl-C after the ends of the spectrum were found.

    Args:
        found: of what was found by then; it says that it is partial.
    """

    found: Spectrum


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
            density; None where Ctrl-C came before it.
        density: of the eigenvalues; None where all are known, in `inertia.eigenvalues`, or where
            Ctrl-C came before it.
        trace: sum of the eigenvalues, with its standard error; None where Ctrl-C came before it
            [the operator's unit].
        frobenius_norm: root of the sum of their squares; None where Ctrl-C came before it [the
            operator's unit].
        effective_rank: (Σλ)²/Σλ², None where it was not taken [directions].
        alignment: share of the gradient's square in the span of the k largest eigenvectors, None
            where it was not taken [share of 1].
        omissions: what was not taken, and why.
        route: how products were computed, in words; "" for an operator that does not say.
        notes: what was done with the model otherwise than in training, in words.
        is_partial: whether it was interrupted; `omissions` has what is missing.
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
    inertia: Inertia | None
    density: Density | None
    trace: Estimate | None
    frobenius_norm: Estimate | None
    effective_rank: Estimate | None
    alignment: Alignment | None
    omissions: dict[str, str]
    route: str
    notes: tuple[str, ...]
    is_partial: bool
    num_products: int
    num_gradients: float | None
    seconds: float
    seed: int
    machine: str

    @property
    def eigenvalues(self) -> Float64[Tensor, " n"] | None:
        """All of them, ascending, where all are known [the operator's unit]."""
        return None if self.inertia is None else self.inertia.eigenvalues

    @property
    def null_tol(self) -> float:
        """Up to which absolute value an eigenvalue counts as null [the operator's unit]."""
        if self.inertia is not None:
            return self.inertia.null_tol
        ends = (self.extremes.top.values, self.extremes.bottom.values)
        return NULL_SHARE * max(abs(float(values[0])) for values in ends)

    def below(self, x: float) -> Count:
        """How many eigenvalues lie below x: exact where all are known, else by density and ends.

        The interval of the density, at two standard deviations, is narrowed by the bounds of the
        outermost eigenvalues; without a density they alone bound the count.
        """
        return self._beyond(x, -1, self.extremes.bottom)

    def above(self, x: float) -> Count:
        """How many eigenvalues lie above x; see `below`."""
        return self._beyond(x, 1, self.extremes.top)

    def _beyond(self, x: float, side: int, pairs: EigenPairs) -> Count:
        if self.eigenvalues is not None:
            number = int((side * self.eigenvalues > side * x).sum())
            return Count(number, 0.0, number, number)
        n = self.num_parameters
        if self.density is None:
            return _narrowed(Count(0.0, inf, 0, n), x, pairs, side)
        if side < 0:
            return _narrowed(self.density.count_below(x), x, pairs, side)
        share = self.density.mass(x, inf)
        count = Count(n * share.estimate, n * share.stderr, n * share.low, n * share.high)
        return _narrowed(count, x, pairs, side)

    @property
    def index_interval(self) -> tuple[int, int]:
        """Least and greatest number of eigenvalues below −`null_tol`; equal where exact."""
        count = self.below(-self.null_tol)
        return floor(count.low), ceil(count.high)

    @property
    def headline(self) -> str:
        """The spectrum in one sentence."""
        from thalweg.curvature._spectrum_page import headline_of

        return headline_of(self)

    def __str__(self) -> str:
        top, bottom = self.extremes.top, self.extremes.bottom
        sums = {
            "trace": self.trace,
            "Frobenius norm": self.frobenius_norm,
            "effective rank": self.effective_rank,
        }
        lines = [
            f"{self.matrix} of {self.title}, {self.num_parameters:,} parameters: {self.headline}",
            f"largest {_listed(top)}   smallest {_listed(bottom)}",
            "   ".join(f"{name} {value}" for name, value in sums.items() if value is not None),
            f"{self.num_products:,} products, {self.seconds:.1f} s",
        ]
        return "\n".join(line for line in lines if line)

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
