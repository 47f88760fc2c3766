"""An operator that counts its products and lets no NaN through."""

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
        # The extremes are NaN or infinite where any entry is, and read the product once.
        if not bool(torch.isfinite(torch.stack(torch.aminmax(product))).all()):
            is_finite = torch.isfinite(product).all(dim=0).tolist()
            number = self.num_products + is_finite.index(False) + 1
            raise OperatorError(
                f"{self._call}: product {number} of this run is NaN or infinite ({self._op!r} "
                "was given a finite vector); check the point the operator was taken at, or "
                "multiply in float64."
            )
        self.num_products += V.shape[1]
        return product
