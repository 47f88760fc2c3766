"""landscape: reads the loss around a point along chosen directions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import isfinite, sqrt
from time import perf_counter

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from thalweg._batch import Batch
from thalweg._errors import SecondDerivativeError, ThalwegError
from thalweg._machine import machine_of
from thalweg._progress import Progress
from thalweg._reading import reading, unwrapped
from thalweg._sampling import drawn
from thalweg.pictures._axis import Frame
from thalweg.pictures._directions import Direction, Principal, TopEigenvectors
from thalweg.pictures._evaluate import Evaluator
from thalweg.pictures._landscape import Landscape, Slice
from thalweg.pictures._limits import limits_by_loss, limits_by_paths
from thalweg.pictures._path import Path
from thalweg.pictures._track import Track, projected, track_of
from thalweg.report import Interrupted
from thalweg.surface import Point

NUM_CELLS = {1: 121, 2: 41, 3: 17}
"""Along each axis, by the number of axes."""

MAX_CELLS = {1: 10_001, 2: 301, 3: 41}
"""More would not fit a page of 6 MB."""

PLACES_BYTES = 2**26
"""What the places that are read together may take."""

NUM_PARTS = 8
"""Into which a part of the data is cut, for its sampling error."""

Limits = float | Sequence[tuple[float, float]]


class InterruptedLandscape(Interrupted):
    """Ctrl-C while cells were read, with what there was by then.

    Args:
        found: with NaN in the cells that were not read; the coarser ones came first.
    """

    found: Landscape


def landscape(
    point: Point,
    along: Direction | Sequence[Direction] | None = None,
    *,
    generator: torch.Generator,
    paths: Sequence[Path] = (),
    limits: Limits | None = None,
    num_cells: int | None = None,
    num_samples: int | None = None,
    progress: Progress | None = None,
) -> Landscape:
    """Reads the loss L(θ + D c) on a grid of c, along each axis alone, and on paths laid over it.

    Beside it stand the quadratic model L + gᵀDc + ½ cᵀDᵀHDc, and for each path the true loss of its
    places against that of their projections D⁺(θ_i − θ), and the share of its variance that the
    picture shows. Losses are read, not interpolated.

    Args:
        point: θ, at coordinate 0.
        along: directions, of one, two or three axes in all; the principal components of the paths
            where there are paths, else the two sharpest directions.
        generator: of what is random in directions and samples.
        paths: of the same parameters; see `record_path` and `Path.of`.
        limits: of the coordinates: a half-width for all axes, or a pair for each. Where left out:
            around the paths, or as far as the loss changes by as much as it is worth.
        num_cells: along each axis; 121, 41 or 17 for one, two or three axes.
        num_samples: a random part of the data that is read in the place of all; its sampling error
            is told.
        progress: told what is being done and which share of the whole is behind.

    Returns:
        `Landscape`: values [loss] on the grid, slices, tracks; `.page()`, `.save("page.html")`.

    Raises:
        ThalwegError: if the axes are not one to three, depend on one another, or numbers are out of
            range.
        LayoutError: if a path or a direction is of other parameters.
        InterruptedLandscape: on Ctrl-C, once cells were read.

    Cost:
        cells^k + 81 k + 2 places evaluations (a third of a gradient each), 42 for each axis whose
        limits the loss decides; k Hessian products, and those of the directions.

    Source: Goodfellow, Vinyals and Saxe 2015, "Qualitatively characterizing neural network
    optimization problems", for lines; Li, Xu, Taylor, Studer and Goldstein 2018, "Visualizing the
    loss landscape of neural nets", for planes and paths in them. The loss along the path and the
    quadratic model are ours.

    Example:
        >>> import torch, thalweg
        >>> point = thalweg.Surface(thalweg.problems.quadratic((1.0, 4.0))).here()
        >>> g = torch.Generator().manual_seed(0)
        >>> seen = thalweg.landscape(point, thalweg.pictures.TopEigenvectors(), generator=g)
        >>> round(seen.slices[0].bend, 6), seen.slices[0].reach
        (4.0, 1.0)
    """
    start = perf_counter()
    progress = progress or (lambda stage, share: None)
    for path in paths:
        path.check_fits(point)
    chosen = _chosen(along, paths, point)
    progress("directions", 0.0)
    with reading():
        axes = [axis for direction in chosen for axis in direction.read(point, generator)]
    if not 1 <= len(axes) <= 3:
        raise ThalwegError(
            f"landscape(point, along=…): {len(axes)} axes were chosen; a picture has one, two or "
            f"three"
        )
    frame = Frame.of(axes)
    cells = _cells(num_cells, frame.size)
    survey = _Survey(_on_part(point, num_samples, generator), frame, progress)
    with reading():
        survey.begin(point, limits, paths, cells)
        survey.read_slices()
        try:
            survey.read_tracks(paths)
            survey.read_grid()
        except KeyboardInterrupt:
            raise InterruptedLandscape(survey.told(point, generator, start)) from None
    progress("done", 1.0)
    return survey.told(point, generator, start)


def _chosen(
    along: Direction | Sequence[Direction] | None, paths: Sequence[Path], point: Point
) -> Sequence[Direction]:
    if along is None and paths:
        return (Principal(tuple(paths), k=2 if point.layout.size > 1 else 1),)
    if along is None:
        return (TopEigenvectors(2),)
    return (along,) if isinstance(along, Direction) else tuple(along)


def _cells(num_cells: int | None, size: int) -> int:
    if num_cells is None:
        return NUM_CELLS[size]
    if not 2 <= num_cells <= MAX_CELLS[size]:
        raise ThalwegError(
            f"landscape(num_cells={num_cells}): along each of {size} axes give a number from 2 to "
            f"{MAX_CELLS[size]}, which a page can hold"
        )
    return num_cells


def _on_part(point: Point, num_samples: int | None, generator: torch.Generator) -> Point:
    """The same point on some of the data, cut into parts."""
    problem = point.problem
    if num_samples is None or num_samples == problem.num_samples:
        return point
    if not 2 * NUM_PARTS <= num_samples <= problem.num_samples:
        raise ThalwegError(
            f"landscape(num_samples={num_samples}): the problem has {problem.num_samples} samples, "
            f"and a sampling error takes {2 * NUM_PARTS}; give a number between, or leave it out"
        )
    if problem.reduction.is_sum:
        raise ThalwegError(
            "landscape(num_samples=…): the loss is a sum over samples, so that some of them have "
            "another scale; make it a mean, or read all"
        )
    rest = problem.subsampled(num_samples, generator).batches
    parts: list[Batch] = []
    if len(rest) > 1:
        raise ThalwegError(
            "landscape(num_samples=…): the batches cannot be joined (ragged sequences), so that no "
            "random samples can be drawn; pad them to one length, or read all"
        )
    for k in range(NUM_PARTS):
        size = num_samples // NUM_PARTS + (k < num_samples % NUM_PARTS)
        part, rest = drawn(rest, size, generator)
        parts += part
    return Point(
        problem.with_data(parts), point.layout, point.vector, point.held, notes=point.notes
    )


@dataclass
class _Survey:
    """Reads the parts of a picture one by one."""

    point: Point
    frame: Frame
    progress: Progress

    def begin(self, whole: Point, limits: Limits | None, paths: Sequence[Path], cells: int) -> None:
        self.evaluator = Evaluator(self.point)
        self.weights = torch.tensor(self.point.weights, dtype=torch.float64)
        self.is_part = self.point is not whole
        self.num_all = whole.problem.num_samples
        self.tracks: list[Track] = []
        self.slices: list[Slice] = []
        self.omissions: dict[str, str] = {}
        k = self.frame.size
        num_places = sum(path.num_places for path in paths)
        self.total = cells**k + 81 * k + 2 * num_places + 42 * k
        centre = self._losses(torch.zeros(1, k, dtype=torch.float64))
        self.parts_here = centre[0]
        self.centre = float(self._totals(centre)[0])
        self.ranges = self._ranges(limits, paths)
        self.ticks = tuple(
            torch.linspace(low, high, cells, dtype=torch.float64) for low, high in self.ranges
        )
        self.values = torch.full((cells,) * k, float("nan"), dtype=torch.float64)
        self.stderr = torch.full_like(self.values, float("nan")) if self.is_part else None
        self.unread = self.values.numel()

    # -- losses -----------------------------------------------------------------------------

    def _losses(self, coordinates: Float[Tensor, "m k"]) -> Float64[Tensor, "m b"]:
        """Of each batch of this rank."""
        here = self.point.vector.double().cpu()
        rows = max(1, PLACES_BYTES // (8 * len(here)))
        return torch.cat(
            [
                self.evaluator((here + self.frame.places(part)).to(self.point.vector))
                for part in coordinates.split(rows)
            ]
        )

    def _totals(self, losses: Float64[Tensor, "m b"]) -> Float64[Tensor, " m"]:
        like = torch.zeros(len(losses), dtype=torch.float64)
        return self.point.problem.ranks.sum(lambda: losses @ self.weights, like)

    def _read(
        self, coordinates: Float[Tensor, "m k"]
    ) -> tuple[Float64[Tensor, " m"], Float64[Tensor, " m"] | None]:
        """Losses, and the standard errors of what they differ by from the centre."""
        losses = self._losses(coordinates)
        errors = self._stderr(losses - self.parts_here) if self.is_part else None
        return self._totals(losses), errors

    def _stderr(self, losses: Float64[Tensor, "m b"]) -> Float64[Tensor, " m"]:
        """√((1 − n/N)/K) times the spread of the parts."""
        unread = 1 - self.point.problem.num_samples / self.num_all
        return sqrt(unread / losses.shape[1]) * losses.std(dim=1)

    def _told(self, stage: str) -> None:
        self.progress(stage, min(1.0, self.evaluator.num_evaluations / self.total))

    # -- parts of the picture ---------------------------------------------------------------

    def _ranges(self, limits: Limits | None, paths: Sequence[Path]) -> list[tuple[float, float]]:
        k = self.frame.size
        if isinstance(limits, int | float):
            limits = [(-float(limits), float(limits))] * k
        if limits is not None:
            pairs = [(float(low), float(high)) for low, high in limits]
            if len(pairs) != k or not all(isfinite(a) and isfinite(b) and a < b for a, b in pairs):
                raise ThalwegError(
                    f"landscape(limits={limits!r}): give one positive number, or for each of the "
                    f"{k} axes a pair (low, high) with low < high"
                )
            return pairs
        if paths:
            places = [projected(path, self.frame, self.point.vector) for path in paths]
            return limits_by_paths(places)
        size = float(torch.linalg.vector_norm(self.point.vector.double())) or 1.0
        return [
            axis.limits
            or limits_by_loss(
                self.frame, i, self.centre, size, lambda c: self._totals(self._losses(c))
            )
            for i, axis in enumerate(self.frame.axes)
        ]

    def read_slices(self) -> None:
        """The loss along each axis, with its quadratic model."""
        k = self.frame.size
        D = torch.stack([axis.vector for axis in self.frame.axes], dim=1)
        slopes = (D.T.double() @ self.point.gradient_vector.double()).cpu()
        self.bend: Tensor | None = None
        try:
            HD = self.point.hessian() @ D.to(self.point.vector)
            B = (D.double().T @ HD.double()).cpu()
            self.bend = (B + B.T) / 2
        except SecondDerivativeError as error:
            self.omissions["quadratic model"] = str(error)
        self.num_products = sum(axis.num_products for axis in self.frame.axes)
        self.num_products += k if self.bend is not None else 0
        for i, (low, high) in enumerate(self.ranges):
            line = self.ticks[0] if k == 1 else torch.linspace(low, high, 81, dtype=torch.float64)
            if low <= 0 <= high:
                line = torch.cat([line, line.new_zeros(1)]).unique()
            coordinates = torch.zeros(len(line), k, dtype=torch.float64)
            coordinates[:, i] = line
            losses, errors = self._read(coordinates)
            bend = None if self.bend is None else float(self.bend[i, i])
            self.slices.append(Slice(line, losses, errors, self.centre, float(slopes[i]), bend))
            self._told("slices")

    def read_tracks(self, paths: Sequence[Path]) -> None:
        """Paths, their projections, and the loss of both."""
        for path in paths:
            self.tracks.append(track_of(path, self.frame, self.evaluator))
            self._told("paths")

    def read_grid(self) -> None:
        """All cells, coarse ones first."""
        if self.frame.size == 1:
            self.ticks = (self.slices[0].coordinates,)
            self.values, self.stderr = self.slices[0].losses, self.slices[0].stderr
            self.unread = 0
            return
        cells = len(self.ticks[0])
        indices = sorted(product(range(cells), repeat=self.frame.size), key=_fineness)
        # Ranks may read in chunks of their own, but have to meet after the same cells.
        is_alone = self.point.problem.ranks.is_alone
        size = max(self.evaluator.chunk, 16) if is_alone else 32
        for first in range(0, len(indices), size):
            chunk = torch.tensor(indices[first : first + size])
            coordinates = torch.stack(
                [tick[chunk[:, i]] for i, tick in enumerate(self.ticks)], dim=1
            )
            losses, errors = self._read(coordinates)
            where = tuple(chunk.T)
            self.values[where] = losses
            if self.stderr is not None and errors is not None:
                self.stderr[where] = errors
            self.unread -= len(chunk)
            self._told("cells")

    def told(self, whole: Point, generator: torch.Generator, start: float) -> Landscape:
        """What there is by now."""
        here = self.parts_here.unsqueeze(0)
        problem = self.point.problem
        return Landscape(
            title=problem.name or type(unwrapped(problem.model)).__name__,
            axes=self.frame.axes,
            slices=tuple(self.slices),
            ticks=self.ticks,
            values=self.values,
            stderr=self.stderr,
            centre=self.centre,
            centre_stderr=float(self._stderr(here)[0]) if self.is_part else 0.0,
            bend=self.bend,
            skew=self.frame.skew,
            tracks=tuple(self.tracks),
            num_parameters=self.frame.basis.shape[0],
            num_samples=problem.num_samples,
            num_all_samples=self.num_all,
            num_evaluations=self.evaluator.num_evaluations,
            num_products=self.num_products,
            way=self.evaluator.way,
            omissions=self.omissions,
            notes=whole.notes,
            num_unread=self.unread,
            seconds=perf_counter() - start,
            seed=generator.initial_seed(),
            machine=machine_of(self.point.vector),
        )


def _fineness(index: tuple[int, ...]) -> int:
    """0 for the coarsest grid that a cell is on, every eighth, up to 3."""
    return next(level for level, s in enumerate((8, 4, 2, 1)) if all(i % s == 0 for i in index))
