"""Landscape: the loss around a point along chosen directions, with its doubt."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.pictures._axis import Axis
from thalweg.pictures._track import Track
from thalweg.report import Page, PagedResult

CLOSE = 0.1
"""The quadratic model holds as long as it is off by less than this share of the change so far."""


@dataclass(frozen=True, eq=False)
class Slice:
    """The loss along one axis, and the quadratic model beside it.

    Args:
        coordinates: c (m,), ascending; 0 among them where the picture holds it.
        losses: L(θ + c d) (m,) [loss].
        stderr: of L(θ + c d) − L(θ), where a part of the data was read; else None [loss].
        centre: L(θ) [loss].
        slope: gᵀd.
        bend: dᵀHd; None where there is no second derivative.
    """

    coordinates: Float[Tensor, " m"]
    losses: Float[Tensor, " m"]
    stderr: Float[Tensor, " m"] | None
    centre: float
    slope: float
    bend: float | None

    @property
    def model(self) -> Float[Tensor, " m"] | None:
        """L(θ) + c gᵀd + ½ c² dᵀHd; None where there is no second derivative."""
        if self.bend is None:
            return None
        c = self.coordinates
        return self.centre + c * self.slope + 0.5 * c**2 * self.bend

    @property
    def reach(self) -> float | None:
        """How far the model holds: |c| up to which it is off by ≤ a tenth of the largest change."""
        if self.model is None:
            return None
        order = self.coordinates.abs().argsort()
        off = (self.losses - self.model).abs()[order]
        change = (self.losses - self.centre).abs()[order].nan_to_num(nan=0.0).cummax(0).values
        bad = torch.nonzero(~(off <= CLOSE * change + 1e-12 * abs(self.centre)))
        far = self.coordinates.abs()[order]
        return float(far[-1] if not len(bad) else far[max(int(bad[0]) - 1, 0)])


@dataclass(frozen=True, eq=False)
class Landscape(PagedResult):
    """The loss around a point along one, two or three directions.

    Args:
        title: the problem's name.
        axes: the directions, with how each was found.
        slices: the loss along each alone.
        ticks: the coordinates of the grid along each axis.
        values: L on the grid, one dimension for each axis [loss]; NaN where it was not read.
        stderr: of L(cell) − L(θ), where a part of the data was read; else None [loss].
        centre: L(θ) [loss].
        centre_stderr: of it; 0 where all data were read.
        bend: DᵀHD (k, k) [loss/unit²]; None where there is no second derivative.
        skew: largest |cosine| between two axes; 0 where lengths and angles are true.
        tracks: the paths laid over it.
        num_parameters: n.
        num_samples: read in each evaluation.
        num_all_samples: of the problem.
        num_evaluations: of the loss on these samples.
        num_products: with the Hessian, for directions and quadratic model.
        way: how places were evaluated.
        omissions: what was not read, and why.
        notes: what was done with the model otherwise than in training.
        num_unread: cells that were not read, since it was interrupted.
        seconds: it took.
        seed: that the generator was seeded with.
        machine: versions, device, dtype and threads.
    """

    schema = "thalweg/landscape/1"
    _also = ("headline", "range", "num_nonfinite", "is_partial")
    _max_items = 100_000

    title: str
    axes: tuple[Axis, ...]
    slices: tuple[Slice, ...]
    ticks: tuple[Float[Tensor, " m"], ...]
    values: Tensor
    stderr: Tensor | None
    centre: float
    centre_stderr: float
    bend: Float[Tensor, "k k"] | None
    skew: float
    tracks: tuple[Track, ...]
    num_parameters: int
    num_samples: int
    num_all_samples: int
    num_evaluations: int
    num_products: int
    way: str
    omissions: dict[str, str]
    notes: tuple[str, ...]
    num_unread: int
    seconds: float
    seed: int
    machine: str

    @property
    def num_nonfinite(self) -> int:
        """Cells in which the loss was read and is NaN or infinite."""
        return int((~torch.isfinite(self.values)).sum()) - self.num_unread

    @property
    def is_partial(self) -> bool:
        """Whether it was interrupted before all cells were read."""
        return self.num_unread > 0

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest finite loss on the grid; NaN twice where there is none."""
        finite = self.values[torch.isfinite(self.values)]
        if not len(finite):
            return float("nan"), float("nan")
        return float(finite.min()), float(finite.max())

    @property
    def headline(self) -> str:
        """What the picture says, in one sentence."""
        from thalweg.pictures._landscape_page import headline_of

        return headline_of(self)

    def __str__(self) -> str:
        low, high = self.range
        return (
            f"{self.title}: {self.headline}; loss {low:.4g} to {high:.4g} on "
            f"{'×'.join(str(len(t)) for t in self.ticks)} cells, {self.num_evaluations:,} "
            f"evaluations"
        )

    def page(self) -> Page:
        """The landscape as a page."""
        from thalweg.pictures._landscape_page import page_of

        return page_of(self)
