"""An operator that counts its products and lets no NaN through."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._linear_operator import LinearOperator
from thalweg.linalg._operator import SymmetricOperator


class CountedOperator(SymmetricOperator):
    """The same matrix, with a count of the columns multiplied so far."""

    def __init__(self, op: SymmetricOperator, call: str) -> None:
        super().__init__(op.size, op.dtype, op.device)
        self._op = op
        self._call = call
        self.num_products = 0

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._op,)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        product = self._op @ V
        # A column's largest entry is NaN or infinite where any of its entries is.
        largest = torch.linalg.vector_norm(product, torch.inf, dim=0).tolist()
        if not all(map(math.isfinite, largest)):
            number = self.num_products + [math.isfinite(x) for x in largest].index(False) + 1
            raise OperatorError(
                f"{self._call}: product {number} of this run is NaN or infinite ({self._op!r} "
                "was given a finite vector); check the point the operator was taken at, or "
                "multiply in float64."
            )
        self.num_products += V.shape[1]
        return product
