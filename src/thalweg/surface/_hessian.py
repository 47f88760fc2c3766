"""Hessian products of one batch: ∇²ℓ v by differentiating the gradient's graph."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._evaluation import Evaluation
from thalweg.surface._route import BatchProduct, Curvature, zero_product
from thalweg.tape import Tape, library_of

LEAST_BLOCK, MOST_BLOCK, NUMBERS_OF_A_BLOCK = 4, 16, 2**20
"""Vectors that are multiplied at once: so many that their widest layer stays in the cache."""


@dataclass(frozen=True)
class HessianProduct:
    """V ↦ ∇²ℓ v of one batch, and what the pass that it was built from found on the way.

    Args:
        product: v ↦ ∇²ℓ v.
        loss: ℓ, a scalar.
        gradient: ∇ℓ, one tensor a parameter; None where the loss is not computed from it.
        block_size: how many vectors at once pay; 1 where they are multiplied one by one.
        make_of_block: builds the product for k vectors at once, each parameter's as (k, *shape);
            None where there is none.
    """

    product: BatchProduct
    loss: Tensor
    gradient: tuple[Tensor | None, ...]
    block_size: int = 1
    make_of_block: Callable[[], BatchProduct | None] = lambda: None

    def __call__(self, v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """∇²ℓ v."""
        return self.product(v)

    @cached_property
    def of_block(self) -> BatchProduct | None:
        """The product for k vectors at once, built when first asked for."""
        return self.make_of_block() if self.block_size >= LEAST_BLOCK else None


def hessian_product(leaves: dict[str, Tensor], evaluation: Evaluation, _: Batch) -> BatchProduct:
    """V ↦ ∇²ℓ v = ∂(∇ℓᵀv)/∂θ, with the graph of ∇ℓ kept.

    Cost: 1 gradient to build, 2 gradients a product (6 forward-like passes of 3 a gradient).
    """
    inputs = tuple(leaves.values())
    if not evaluation.loss.requires_grad:
        return zero_product
    gradients = torch.autograd.grad(evaluation.loss, inputs, create_graph=True, allow_unused=True)
    # A gradient that is constant, or absent, adds nothing to the second derivative.
    curved = [i for i, g in enumerate(gradients) if g is not None and g.requires_grad]
    found = tuple(None if g is None else g.detach() for g in gradients)
    if not curved:
        return HessianProduct(zero_product, evaluation.loss.detach(), found)

    def product(v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        return torch.autograd.grad(
            [gradients[i] for i in curved],
            inputs,
            [v[i] for i in curved],
            retain_graph=True,
            materialize_grads=True,
        )

    return HessianProduct(product, evaluation.loss.detach(), found)


def _on_tape(tape: Tape, evaluation: Evaluation, _: Batch) -> BatchProduct:
    loss = evaluation.loss.detach()
    # Other libraries multiply k narrow matrices as fast as one wide one; then what passes through
    # the cache decides, and single vectors are the smaller.
    size = NUMBERS_OF_A_BLOCK // tape.widest if library_of(loss) else 1
    size = min(size, MOST_BLOCK)
    return HessianProduct(tape.hessian(), loss, tape.gradient, size, tape.hessian_of_block)


HESSIAN = Curvature("Hessian", 2.0, hessian_product, _on_tape, is_hessian=True)
