"""The saddle that an escape starts from: found to rounding, and taken apart."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import BudgetError, ThalwegError
from thalweg.surface import Point

MAX_PARAMETERS = 500
"""The Hessian is written out, in every step of most methods too."""

MAX_NEWTON_STEPS = 100

NULL = 1e-9
"""Eigenvalues below this share of the largest are null: they tell no direction."""


@dataclass(frozen=True, eq=False)
class Saddle:
    """A critical point with its eigenvectors.

    Args:
        point: where, after Newton's steps.
        values: λ (n,), ascending; those next to 0 are 0 [loss/param²].
        vectors: U (n, n).
        error: length of the next Newton step: how far the saddle itself may be off [param].
        moved: how far Newton's steps led [param].
    """

    point: Point
    values: Float[Tensor, " n"]
    vectors: Float[Tensor, "n n"]
    error: float
    moved: float

    @property
    def index(self) -> int:
        """Negative eigenvalues."""
        return int((self.values < 0).sum())

    @property
    def num_null(self) -> int:
        """Null eigenvalues."""
        return int((self.values == 0).sum())

    def start(self, distance: float, generator: torch.Generator) -> Float[Tensor, " n"]:
        """A displacement of that length, equally far along every eigenvector that is not null.

        Its signs are random; on a saddle without curvature so is all of it.

        Args:
            distance: its length.
            generator: draws.
        """
        n = len(self.values)
        drawn = torch.randn(n, generator=generator, dtype=torch.float64).to(self.values)
        c = torch.where(self.values == 0, torch.zeros_like(drawn), torch.sign(drawn))
        if self.num_null == n:
            c = drawn
        unit: Tensor = c / torch.linalg.vector_norm(c)
        return distance * unit


def at(point: Point, vector: Float[Tensor, " n"]) -> Point:
    """The point of the same surface elsewhere."""
    return Point(point.problem, point.layout, vector, point.held)


def settled(point: Point) -> Saddle:
    """The critical point that Newton's method comes to from here, to rounding.

    Raises:
        BudgetError: if there are too many parameters to write the Hessian out.
        ThalwegError: if the point is not in float64, Newton does not settle, or it is a minimum.

    Cost: n products a step.
    """
    n = point.layout.size
    if n > MAX_PARAMETERS:
        raise BudgetError(
            f"escape(saddle): the Hessian of {n:,} parameters would be written out in every step; "
            f"up to {MAX_PARAMETERS} are taken: choose some, Surface(problem, 'layer.*')"
        )
    if point.vector.dtype != torch.float64:
        raise ThalwegError(
            f"escape(saddle): a distance of 1e-8 drowns in {point.vector.dtype}; take the point "
            f"from Surface(problem, dtype=torch.float64)"
        )
    point.problem.ranks.refuse("escape(saddle)")
    start, here, best, length = point.vector, point, point, float("inf")
    scale = 0.0
    for _ in range(MAX_NEWTON_STEPS):
        values, vectors = torch.linalg.eigh(here.hessian().to_dense())
        scale = scale or float(values.abs().max())
        keep = values.abs() > NULL * float(values.abs().max())
        slopes = vectors.T @ here.gradient_vector
        step = -vectors @ torch.where(keep, slopes / values, 0.0)
        size = float(torch.linalg.vector_norm(step))
        if not size < float("inf"):
            break
        if size >= length and length <= 1e-7 * (1 + float(here.vector.norm())):
            break  # rounding: the last place was as good
        # Where the whole Hessian fades on the way, what is left of it is no curvature either.
        is_curved = keep & (values.abs() > NULL * scale)
        best, length, known = here, size, (torch.where(is_curved, values, 0.0), vectors)
        if size == 0:
            break
        here = at(here, here.vector + step)
    if length > 1e-7 * (1 + float(start.norm())) or length == float("inf"):
        raise ThalwegError(
            f"escape(saddle): Newton's method does not settle from here (its last step is "
            f"{length:.2g} long); start nearer to a critical point, or find one first"
        )
    values, vectors = known
    saddle = Saddle(best, values, vectors, length, float((best.vector - start).norm()))
    if saddle.index == 0 and saddle.num_null < n:
        raise ThalwegError(
            f"escape(saddle): at the critical point that Newton's method comes to from here "
            f"(‖θ − start‖ = {saddle.moved:.2g}) no curvature is negative, so that there is "
            f"nothing to escape along; start nearer to a saddle"
        )
    return saddle
