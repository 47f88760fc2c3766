"""λ_max along a flow, from one place to the next."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from thalweg.gradient_flow._field import Field, Place, Tally
from thalweg.linalg import extremes, follow

_ROUGH, _AUDIT_EVERY = 0.02, 16


@dataclass(frozen=True)
class SharpnessReading:
    """λ_max at one moment.

    Args:
        time: t [param²/loss].
        value: λ_max of the Hessian [loss/param²].
        error: how far above the eigenvalue may lie [loss/param²].
    """

    time: float
    value: float
    error: float


class SharpnessReader:
    """Reads λ_max from the eigenvector of the last reading.

    Args:
        field: whose surface is read.
        generator: draws the first vector, and those of audits.
        tol: wanted relative error.
        tally: the account; a new one where left out.
    """

    def __init__(
        self,
        field: Field,
        generator: torch.Generator,
        tol: float = 1e-2,
        tally: Tally | None = None,
    ) -> None:
        self.tally = Tally() if tally is None else tally
        self._field, self._generator, self._tol = field.counting(self.tally), generator, tol
        self._vector: Tensor | None = None
        self._second, self._count = -inf, 0

    def read(self, place: Place, time: float) -> SharpnessReading:
        """λ_max there. Cost: mostly one gradient and one or two products."""
        op = self._field.hessian(place)
        if self._vector is None or self._count % _AUDIT_EVERY == 0:
            k = min(2, op.size)
            top = extremes(op, k, generator=self._generator, tol=_ROUGH).top
            self._vector = top.vectors[:, 0]
            self._second = float(top.values[-1]) if k > 1 else -inf
        self._count += 1
        found = follow(op, self._vector, self._second, tol=self._tol)
        self._vector, self._second = found.vector, found.second
        return SharpnessReading(time, found.value, found.error)
