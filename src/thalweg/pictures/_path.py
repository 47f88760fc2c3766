"""Path: places that an optimizer, or a flow, went through."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import LayoutError
from thalweg._layout import Layout, Params
from thalweg.surface import Point


@dataclass(frozen=True, eq=False)
class Path:
    """Places θ₀, θ₁, … of a walk over a surface, kept as a start and float32 offsets from it.

    An offset is rounded to 6e-8 of the distance walked, whatever the size of θ.

    Args:
        name: of the walk, for pictures.
        start: θ₀ (n,).
        offsets: θ_i − θ₀ (s, n), float32 on the CPU.
        steps: the number of steps before each place.
        names: of the parameters, in the order of the vector; () where it was given as vectors.
        ending: why it ended before its time; "" where it did not.

    Example:
        >>> import torch
        >>> path = Path.of([torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0])], name="by hand")
        >>> path.places()
        tensor([[1., 2.],
                [1., 3.]])
    """

    name: str
    start: Float[Tensor, " n"]
    offsets: Float[Tensor, "s n"]
    steps: tuple[int, ...]
    names: tuple[str, ...] = ()
    ending: str = ""

    @classmethod
    def of(cls, places: Sequence[Params | Tensor], *, name: str = "path", every: int = 1) -> Path:
        """A path through places that were kept elsewhere, such as checkpoints.

        Args:
            places: at least one: parameters by name (the trainable ones, in the model's order), or
                vectors (n,).
            name: for pictures.
            every: steps between two of them.

        Raises:
            LayoutError: if there is none, or they do not fit one another.
        """
        if not places:
            raise LayoutError("Path.of([]): there is no place; give one or more")
        first = places[0]
        layout = None if isinstance(first, Tensor) else Layout.of(first)
        vectors = [
            place.detach().reshape(-1)
            if isinstance(place, Tensor)
            else _laid_out(layout, place).detach()
            for place in places
        ]
        if len({vector.shape for vector in vectors}) > 1:
            raise LayoutError(
                "Path.of(places): the places have different numbers of parameters; give places of "
                "one model"
            )
        offsets = torch.stack([(v - vectors[0]).float().cpu() for v in vectors])
        steps = tuple(range(0, every * len(vectors), every))
        return cls(name, vectors[0].clone(), offsets, steps, layout.names if layout else ())

    @property
    def num_places(self) -> int:
        """How many places are kept."""
        return len(self.steps)

    @property
    def length(self) -> float:
        """Σ‖θ_{i+1} − θ_i‖ over the places kept [param]."""
        return float(torch.linalg.vector_norm(self.offsets.diff(dim=0).double(), dim=1).sum())

    def places(self) -> Float[Tensor, "s n"]:
        """All places, in the dtype of the start."""
        return self.start + self.offsets.to(self.start)

    @property
    def end(self) -> Float[Tensor, " n"]:
        """The last place."""
        return self.start + self.offsets[-1].to(self.start)

    def check_fits(self, point: Point) -> None:
        """Refuses a path of other parameters than the point's.

        Raises:
            LayoutError: says which.
        """
        is_other = self.names and self.names != point.layout.names
        if len(self.start) != point.layout.size or is_other:
            raise LayoutError(
                f"the path {self.name!r} has {len(self.start):,} parameters "
                f"({', '.join(self.names[:3]) or 'without names'}, …), the point "
                f"{point.layout.size:,} ({', '.join(point.layout.names[:3])}, …); record it on the "
                f"same problem, and take the point over all trainable parameters"
            )


def _laid_out(layout: Layout | None, place: Params | Tensor) -> Tensor:
    if layout is None or isinstance(place, Tensor):
        raise LayoutError(
            "Path.of(places): some places are dicts and some are vectors; give all in one form"
        )
    return layout.flatten(place)
