"""A matrix given by two functions: what it does to a vector, and its transpose."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import OperatorError
from thalweg.linalg._linear_operator import LinearOperator

Product = Callable[[Tensor], Tensor]


def from_products(
    forward: Product,
    adjoint: Product,
    shape: tuple[int, int],
    *,
    dtype: torch.dtype = torch.float32,
    device: torch.device | str = "cpu",
) -> LinearOperator:
    """Make an operator of two functions of one vector each.

        A v = forward(v),   Aᵀ u = adjoint(u)

    Args:
        forward: takes v of shape (n,) and returns A v of shape (m,).
        adjoint: takes u of shape (m,) and returns Aᵀ u of shape (n,); that it is the transpose is
            taken on trust.
        shape: (m, n).
        dtype: of all vectors.
        device: of all vectors.

    Returns:
        A `LinearOperator`. [the functions' unit]

    Raises:
        OperatorError: a size is below 1; on a product, a function returns another shape.

    Cost: one call a product; a block of k columns is k calls.

    Source: `LinearOperator`, of which this is the shortest.

    Example:
        >>> import torch
        >>> A = from_products(lambda v: v[:1], lambda u: torch.cat([u, 0 * u]), (1, 2))
        >>> A.to_dense()
        tensor([[1., 0.]])
    """
    return _ProductsOperator(forward, adjoint, shape, dtype, device)


class _ProductsOperator(LinearOperator):
    def __init__(
        self,
        forward: Product,
        adjoint: Product,
        shape: tuple[int, int],
        dtype: torch.dtype,
        device: torch.device | str,
    ) -> None:
        super().__init__(shape, dtype, device)
        self._forward, self._adjoint = forward, adjoint

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        return _columns(self._forward, V, self.shape[0], "forward")

    def _apply_adjoint(self, U: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        return _columns(self._adjoint, U, self.shape[1], "adjoint")


def _columns(function: Product, V: Tensor, size: int, name: str) -> Tensor:
    products = [function(column) for column in V.unbind(1)]
    for product in products:
        if product.shape != (size,):
            raise OperatorError(
                f"from_products({name}=...): it returned shape {tuple(product.shape)}, and the "
                f"shape given promises ({size},)."
            )
    return torch.stack(products, 1) if products else V.new_zeros(size, 0)
