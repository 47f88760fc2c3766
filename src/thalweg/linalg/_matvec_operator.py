"""A function v ↦ A v as an operator."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._operator import SymmetricOperator


class MatvecOperator(SymmetricOperator):
    """A symmetric matrix given by a function that multiplies one vector by it.

        A v = function(v)

    The symmetry of the function is taken on trust; a Lanczos run measures what is left of it
    (`Tridiagonal.defect`).

    Args:
        function: Takes v of shape (n,) and returns A v of shape (n,).
        size: n.
        dtype: Dtype of v and A v.
        device: Device of v and A v.

    Raises:
        OperatorError: On a product, when the function returns another shape.

    Cost: one call of the function a product; a block of k columns is k calls.

    Example:
        >>> import torch
        >>> from thalweg.linalg import MatvecOperator
        >>> d = torch.tensor([1.0, 2.0, 3.0])
        >>> op = MatvecOperator(lambda v: d * v, 3)
        >>> op @ torch.ones(3)
        tensor([1., 2., 3.])
    """

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        size: int,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> None:
        super().__init__(size, dtype, device)
        self._function = function

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        if V.shape[1] == 0:
            return V
        columns = [self._function(column) for column in V.T]
        for column in columns:
            if column.shape != (self.size,):
                raise OperatorError(
                    f"MatvecOperator(function, {self.size}): the function returned shape "
                    f"{tuple(column.shape)}; it must return ({self.size},)."
                )
        return torch.stack(columns, dim=1)
