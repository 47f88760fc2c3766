"""AᵀA, symmetric whatever A is."""

from jaxtyping import Float
from torch import Tensor

from thalweg.linalg._linear_operator import LinearOperator
from thalweg.linalg._operator import SymmetricOperator


class GramOperator(SymmetricOperator):
    """AᵀA."""

    def __init__(self, op: LinearOperator) -> None:
        super().__init__(op.shape[1], op.dtype, op.device)
        self._op = op

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        return self._op.T @ (self._op @ V)
