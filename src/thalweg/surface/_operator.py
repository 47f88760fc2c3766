"""The symmetric operators of a surface: products summed over batches, along one route."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import overload

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._graph import explaining
from thalweg._layout import Layout
from thalweg._ranks import ALONE, Alone, Fact, facts_of_vector
from thalweg._reading import reading
from thalweg.linalg import SymmetricOperator
from thalweg.surface._hessian import LEAST_BLOCK, HessianProduct
from thalweg.surface._route import BatchProduct, Route


class SurfaceOperator(SymmetricOperator):
    """A = Σ_b w_b A_b, where each A_b can only be multiplied by.

    `A @ v` takes a vector (n,), a block (n, k), or a dict by parameter name. How a product is
    computed is decided at the first one. Where several processes share the data, all of them
    multiply the same vector, and the sum runs over the batches of all.

    Args:
        name: of the matrix, in words.
        layout: names and shapes of the n parameters.
        product_of: builds the product of a batch, by its number, along a route.
        weights: w_b.
        cost: gradients a product, by count of operations, with the pass kept.
        decide: finds the route, when it is first needed.
        ranks: the processes that share the data.
        sample: the same operator of a part of the data along a route, None where that is no use.
    """

    def __init__(
        self,
        name: str,
        layout: Layout,
        product_of: Callable[[int, Route], BatchProduct],
        weights: tuple[float, ...],
        cost: float,
        decide: Callable[[], Route],
        ranks: Alone = ALONE,
        sample: Callable[[Route], SurfaceOperator | None] = lambda route: None,
    ) -> None:
        super().__init__(layout.size, layout.dtype, layout.device)
        self.name = name
        self.layout = layout
        self._product_of = product_of
        self._weights = weights
        self._cost = cost
        self._decide = decide
        self._ranks = ranks
        self._sample = sample
        self._is_agreed = False
        self._kept: list[BatchProduct] | None = None

    @cached_property
    def route(self) -> Route:
        """How products are computed; decided when first asked, by a probe where none was given."""
        return self._decide()

    @property
    def said(self) -> str:
        """How products are computed, in words; decided when first asked."""
        return self.route.said

    @property
    def kept(self) -> tuple[BatchProduct, ...]:
        """The products of the batches, as far as they were built and are kept."""
        return tuple(self._kept or ())

    @property
    def gradients_per_product(self) -> float:
        """The cost of a product by count of operations, in gradients."""
        return self._cost + self.route.extra_gradients

    def sampled(self) -> SurfaceOperator | None:
        """The same of a thirty-second of the samples; None of few, or where products are cheap."""
        return self._sample(self.route)

    def __repr__(self) -> str:
        plain = super().__repr__()
        return f"{plain[:-1]}, {self.route.said})" if "route" in vars(self) else plain

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
        route = self.route  # every rank decides before one of them can fail
        if not self._is_agreed:
            self._ranks.agree(lambda: [_fact_of_route(route), *facts_of_vector(V)])
            self._is_agreed = True
        return self._ranks.sum(lambda: self._own_product(V), like=V, alike=V)

    def _own_product(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        if not self._weights:
            return torch.zeros_like(V)
        # Each column in one piece: a product reads it many times.
        rows = V.T.contiguous()
        total: Tensor | None = None
        for weight, product in zip(self._weights, self._products(), strict=True):
            with self.route.guarding(), explaining():
                flat = self._of_rows(product, rows)
                if weight != 1.0:
                    flat.mul_(weight)
                total = flat if total is None else total.add_(flat)
        assert total is not None
        return total.T

    def _of_rows(self, product: BatchProduct, rows: Float[Tensor, "k n"]) -> Float[Tensor, "k n"]:
        """A_b v for every row v, several at once where the product of the batch can do that."""
        if isinstance(product, HessianProduct) and len(rows) >= LEAST_BLOCK and product.of_block:
            # Blocks of one size, as near as can be: a narrow last one costs as much as a wide one.
            blocks = rows.chunk(-(-len(rows) // product.block_size))
            return torch.cat([self._of_block(product.of_block, block) for block in blocks])
        parts = [product(tuple(self.layout.unflatten(v).values())) for v in rows.unbind(0)]
        flat = [torch.cat([p.detach().reshape(-1) for p in part]) for part in parts]
        return flat[0][None] if len(flat) == 1 else torch.stack(flat)

    def _of_block(self, of_block: BatchProduct, rows: Float[Tensor, "k n"]) -> Tensor:
        pieces = rows.split(list(self.layout.sizes), dim=1)
        shaped = zip(pieces, self.layout.shapes, strict=True)
        found = of_block(tuple(piece.reshape(len(rows), *shape) for piece, shape in shaped))
        return torch.cat([part.reshape(len(rows), -1) for part in found], dim=1)

    def _products(self) -> Iterator[BatchProduct]:
        if self._kept is not None:
            return iter(self._kept)
        built = map(self._built, range(len(self._weights)))
        if not self.route.is_kept:
            return built
        self._kept = list(built)
        return iter(self._kept)

    def _built(self, index: int) -> BatchProduct:
        with reading(), explaining():
            return self._product_of(index, self.route)


def _fact_of_route(route: Route) -> Fact:
    return Fact("the route", repr(route), "pass the same route=... on every rank, or none")
