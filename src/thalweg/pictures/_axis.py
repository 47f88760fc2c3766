"""Axis: a direction of a picture; Frame: the axes of one, and what they see of a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._untold import UNTOLD

DEPENDENT = 1e-6
"""A direction of which less is left beside the others shows nothing of its own."""


@dataclass(frozen=True, eq=False)
class Axis:
    """A direction through the point at which a picture is taken.

    Args:
        name: in a few words, for the picture.
        vector: d (n,) [param]; a coordinate c stands for the place θ + c d.
        said: how it was found, with its doubt.
        unit: of the coordinate.
        is_exact: whether it is to be used as it is, neither orthogonal to the others nor of
            length 1.
        limits: the range of the coordinate that it asks for; None where the loss decides.
        num_products: with the Hessian that finding it took.
    """

    name: str
    vector: Float[Tensor, " n"] = field(metadata=UNTOLD)
    said: str
    unit: str = "param"
    is_exact: bool = False
    limits: tuple[float, float] | None = None
    num_products: int = 0


@dataclass(frozen=True, eq=False)
class Frame:
    """The axes of a picture: c ↦ θ + D c.

    Args:
        axes: k of them.
        basis: D (n, k), float64 on the CPU for projections.
    """

    axes: tuple[Axis, ...]
    basis: Float[Tensor, "n k"]

    @classmethod
    def of(cls, axes: Sequence[Axis]) -> Frame:
        """Axes that are not exact are made orthogonal to the exact ones and to those before.

        Raises:
            ThalwegError: if one is zero, not finite, or lies in the span of the others.
        """
        order = sorted(range(len(axes)), key=lambda i: not axes[i].is_exact)
        done: dict[int, Axis] = {}
        spanned: list[Tensor] = []  # orthonormal
        for i in order:
            axis = axes[i]
            vector = axis.vector.double().cpu()
            length = float(torch.linalg.vector_norm(vector))
            if not 0 < length < float("inf"):
                raise ThalwegError(
                    f"the direction {axis.name!r} is {'zero' if length == 0 else 'not finite'}; "
                    f"choose another, such as TopEigenvectors(2)"
                )
            rest = vector / length
            for _ in range(2):  # twice, so that what is left is orthogonal to rounding
                for unit in spanned:
                    rest = rest - (unit @ rest) * unit
            left = float(torch.linalg.vector_norm(rest))
            if left < DEPENDENT:
                raise ThalwegError(
                    f"the direction {axis.name!r} lies in the span of the others, so that it "
                    f"shows nothing new; leave it out, or choose another"
                )
            spanned.append(rest / left)
            if not axis.is_exact:
                less = left < 1 - 1e-6
                name = f"{axis.name}, less the other axes" if less else axis.name
                axis = replace(axis, name=name, vector=spanned[-1].to(axis.vector))
            done[i] = axis
        kept = tuple(done[i] for i in range(len(axes)))
        return cls(kept, torch.stack([axis.vector.double().cpu() for axis in kept], dim=1))

    @property
    def size(self) -> int:
        """How many axes."""
        return len(self.axes)

    @property
    def skew(self) -> float:
        """The largest |cosine| between two axes: 0 where lengths in the picture are true."""
        unit = self.basis / torch.linalg.vector_norm(self.basis, dim=0)
        cosines = (unit.T @ unit).abs() - torch.eye(self.size, dtype=torch.float64)
        return float(cosines.max().clamp(min=0.0))

    def coordinates(self, offsets: Float[Tensor, "s n"]) -> Float[Tensor, "s k"]:
        """The nearest place of the picture to θ + offset, for each: (DᵀD)⁻¹ Dᵀ offset."""
        gram = self.basis.T @ self.basis
        seen = offsets.double().cpu() @ self.basis
        found: Tensor = torch.linalg.solve(gram, seen.T).T
        return found

    def places(self, coordinates: Float[Tensor, "m k"]) -> Float[Tensor, "m n"]:
        """D c for each row c, in float64."""
        return coordinates.double() @ self.basis.T

    def orthonormal(self) -> Float[Tensor, "n k"]:
        """An orthonormal basis of the span."""
        found: Tensor = torch.linalg.qr(self.basis).Q
        return found
