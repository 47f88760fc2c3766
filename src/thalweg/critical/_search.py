"""The result of a search for critical points: every walk, sorted into orbits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from thalweg.critical._found_point import FoundPoint, Status
from thalweg.report import Page, PagedResult


@dataclass(frozen=True, eq=False)
class CriticalSearch(PagedResult):
    """What all walks of a search found.

    Args:
        title: of the problem.
        solver: the method in words.
        num_parameters: n.
        num_asked: walks asked for; fewer are done where the search was interrupted.
        points: what each walk found, in the order of their starts.
        weight_decay: c of ½ c ‖θ‖² in the loss [loss/param²].
        tol: ‖∇L‖² below which a gradient counts as zero [loss²/param²].
        max_gradients: what a walk was allowed.
        num_gradients: cost of all, starts included, in gradient-equivalents.
        seconds: cost in time, of this and earlier sessions.
        seed: what everything random was drawn from, for the footer.
        machine: where it was computed.
    """

    schema = "thalweg/critical/1"
    _also = ("headline", "is_partial")

    title: str
    solver: str
    num_parameters: int
    num_asked: int
    points: tuple[FoundPoint, ...]
    weight_decay: float
    tol: float
    max_gradients: float
    num_gradients: float
    seconds: float
    seed: int
    machine: str

    @property
    def is_partial(self) -> bool:
        """Whether walks are missing."""
        return len(self.points) < self.num_asked

    @property
    def orbits(self) -> tuple[FoundPoint, ...]:
        """The first certified point of each orbit: critical points that differ in more than a
        symmetry of the network.
        """
        return tuple(point for point in self.points if point.orbit == point.number)

    def count(self, status: Status) -> int:
        """How many walks came to that."""
        return sum(point.status is status for point in self.points)

    @property
    def headline(self) -> str:
        """The answer in a sentence."""
        certified = self.count(Status.CERTIFIED)
        said = f"{certified} of {len(self.points)} walks ended at certified critical points"
        if certified:
            indices = [point.index for point in self.points if point.is_certified]
            low, high = min(indices), max(indices)
            number = len(self.orbits)
            said += f", {number} different {'one' if number == 1 else 'ones'}, "
            said += f"of index {low}" if low == high else f"of index {low} to {high}"
        return said + (
            f"; partial: {self.num_asked - len(self.points)} of {self.num_asked} walks are missing"
            if self.is_partial
            else ""
        )

    def __str__(self) -> str:
        lines = [self.headline]
        for point in self.points:
            lines.append(
                f"{point.number:>3}  loss {point.value:.6g}  |∇L|² {point.gradient_square:.1e}  "
                f"index {point.index}  {point.status.value}: {point.reason}"
            )
        return "\n".join([*lines, f"{self.num_gradients:,.0f} gradients, {self.seconds:.1f} s"])

    def page(self) -> Page:
        """The search as a page: index against loss, spectra, and the table of all walks."""
        from thalweg.critical._page import page_of

        return page_of(self)


def in_orbits(points: Sequence[FoundPoint]) -> tuple[FoundPoint, ...]:
    """The points in order, each certified one told which earlier one it repeats."""
    firsts: list[FoundPoint] = []
    sorted_points = []
    for point in sorted(points, key=lambda point: point.number):
        if not point.is_certified:
            sorted_points.append(replace(point, orbit=None))
            continue
        same = next((first for first in firsts if point.is_same(first)), None)
        numbered = replace(point, orbit=point.number if same is None else same.number)
        if same is None:
            firsts.append(numbered)
        sorted_points.append(numbered)
    return tuple(sorted_points)
