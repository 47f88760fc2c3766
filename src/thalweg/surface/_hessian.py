"""Hessian products of one batch: ∇²ℓ v by differentiating the gradient's graph."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._problem import Evaluation
from thalweg.surface._route import BatchProduct, Curvature, zero_product
from thalweg.tape import Tape


@dataclass(frozen=True)
class HessianProduct:
    """V ↦ ∇²ℓ v of one batch, and what the pass that it was built from found on the way.

    Args:
        product: v ↦ ∇²ℓ v.
        loss: ℓ, a scalar.
        gradient: ∇ℓ, one tensor a parameter; None where the loss is not computed from it.
    """

    product: BatchProduct
    loss: Tensor
    gradient: tuple[Tensor | None, ...]

    def __call__(self, v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """∇²ℓ v."""
        return self.product(v)


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
    return HessianProduct(tape.hessian(), evaluation.loss.detach(), tape.gradient)


HESSIAN = Curvature("Hessian", 2.0, hessian_product, _on_tape, is_hessian=True)
