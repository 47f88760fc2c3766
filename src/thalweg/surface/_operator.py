"""The symmetric operators of a surface: products summed over batches, by graphs kept or rebuilt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._graph import explaining
from thalweg._layout import Layout
from thalweg._reading import differentiating, reading
from thalweg.linalg import SymmetricOperator

BatchProduct = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
"""v ↦ A_b v for one batch, both as one tensor a parameter."""


def zero_product(v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The product of a batch that the chosen parameters do not reach."""
    return tuple(map(torch.zeros_like, v))


class SurfaceOperator(SymmetricOperator):
    """A = Σ_b w_b A_b, where each A_b can only be multiplied by.

    `A @ v` takes a vector (n,), a block (n, k), or a dict by parameter name.

    Args:
        layout: names and shapes of the n parameters.
        product_of: builds the product of batch b, with its autograd graph.
        weights: w_b.
        is_kept: whether graphs are kept between products, or rebuilt to save memory.
        cost: gradients a product, with the graph kept; one more where it is rebuilt.
    """

    def __init__(
        self,
        layout: Layout,
        product_of: Callable[[int], BatchProduct],
        weights: tuple[float, ...],
        is_kept: bool,
        cost: float,
    ) -> None:
        super().__init__(layout.size, layout.dtype, layout.device)
        self.layout = layout
        self.is_kept = is_kept
        self.gradients_per_product = cost if is_kept else cost + 1
        self._product_of = product_of
        self._weights = weights
        self._kept: list[BatchProduct] | None = None

    # mypy fears a wider argument for the sake of __rmatmul__, which nothing here has.
    @overload  # type: ignore[override]
    def __matmul__(self, other: Tensor) -> Tensor: ...
    @overload
    def __matmul__(self, other: Mapping[str, Tensor]) -> dict[str, Tensor]: ...
    def __matmul__(self, other: Tensor | Mapping[str, Tensor]) -> Tensor | dict[str, Tensor]:
        if isinstance(other, Mapping):
            return self.layout.unflatten(super().__matmul__(self.layout.flatten(other)))
        return super().__matmul__(other)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        if V.shape[1] == 0:
            return torch.zeros_like(V)
        columns = [tuple(self.layout.unflatten(v).values()) for v in V.unbind(1)]
        totals: list[Tensor] = []
        for weight, product in zip(self._weights, self._products(), strict=True):
            with differentiating(), explaining():
                parts = [product(column) for column in columns]
            flat = [weight * torch.cat([p.detach().reshape(-1) for p in part]) for part in parts]
            totals = [a.add_(b) for a, b in zip(totals, flat, strict=True)] if totals else flat
        return torch.stack(totals, dim=1)

    def _products(self) -> Iterator[BatchProduct]:
        if self._kept is not None:
            return iter(self._kept)
        if not self.is_kept:
            return map(self._built, range(len(self._weights)))
        self._kept = [self._built(index) for index in range(len(self._weights))]
        return iter(self._kept)

    def _built(self, index: int) -> BatchProduct:
        with reading(), explaining():
            return self._product_of(index)
