"""A curvature as a method sees it that divides by a scale of its own for each parameter."""

from __future__ import annotations

from torch import Tensor

from thalweg.linalg import LinearOperator, SymmetricOperator


class ScaledOperator(SymmetricOperator):
    """D A D for a diagonal D."""

    def __init__(self, operator: SymmetricOperator, diagonal: Tensor) -> None:
        super().__init__(operator.size, operator.dtype, operator.device)
        self._operator = operator
        self._diagonal = diagonal[:, None]

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._operator,)

    def _apply(self, V: Tensor) -> Tensor:
        result: Tensor = self._diagonal * (self._operator @ (self._diagonal * V))
        return result
