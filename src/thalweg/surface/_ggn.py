"""Products with Jᵀ A J of one batch, A acting on the model's output; the GGN among them."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._errors import ProblemError
from thalweg._evaluation import Evaluation
from thalweg.surface._route import BatchProduct, Curvature, zero_product
from thalweg.tape import Tape


def ggn_product(leaves: dict[str, Tensor], evaluation: Evaluation, _: Batch) -> BatchProduct:
    """V ↦ Jᵀ (∇²_z ℓ) J v, with ∇²_z ℓ by autograd.

    Cost: 4/3 gradients a product by count (two passes through the network of the size of a
    backward, one of the size of a forward).
    """
    output = output_of(evaluation)
    if not output.requires_grad:
        return zero_product
    (slope,) = torch.autograd.grad(evaluation.loss, output, create_graph=True, allow_unused=True)
    if slope is None:
        raise ProblemError(
            "the loss is not computed from the tensor that the model returns as its output, so its "
            "GGN cannot be taken; use point.hessian(), or return that very tensor as .logits"
        )

    def curve(Jv: Tensor) -> Tensor:
        if not slope.requires_grad:
            return torch.zeros_like(Jv)
        (curved,) = torch.autograd.grad(
            slope, output, Jv, retain_graph=True, materialize_grads=True
        )
        return curved

    return gram_product(leaves, output, curve)


def output_of(evaluation: Evaluation) -> Tensor:
    """The one tensor that the loss reads; without a graph only where the loss has none either.

    Args:
        evaluation: a forward pass.

    Raises:
        ProblemError: if it is none, or cut off from the graph.

    Example:
        >>> import torch, thalweg
        >>> x, y = torch.randn(7, 3), torch.randn(7, 1)
        >>> problem = thalweg.Problem(torch.nn.Linear(3, 1), torch.nn.functional.mse_loss, (x, y))
        >>> output_of(problem.evaluate(problem.model, (x, y))).shape
        torch.Size([7, 1])
    """
    output = evaluation.logits
    detached = evaluation.loss.requires_grad and not getattr(output, "requires_grad", False)
    if not isinstance(output, Tensor) or detached:
        raise ProblemError(
            f"the model's output is a {type(output).__name__}; the GGN and the Fisher need one "
            f"tensor with a graph: return it alone, or as .logits"
        )
    return output


def gram_product(
    leaves: dict[str, Tensor], output: Tensor, curve: Callable[[Tensor], Tensor]
) -> BatchProduct:
    """V ↦ Jᵀ curve(J v).

    Jv comes from differentiating u ↦ Jᵀu twice in reverse: Jᵀu is linear in u, so its derivative
    by u along v is Jv, whatever u is.
    """
    if not output.requires_grad:
        return zero_product
    inputs = tuple(leaves.values())
    u = torch.zeros_like(output, requires_grad=True)
    pulled = torch.autograd.grad(output, inputs, u, create_graph=True, allow_unused=True)
    reached = [i for i, p in enumerate(pulled) if p is not None and p.requires_grad]

    def product(v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        (Jv,) = torch.autograd.grad(
            [pulled[i] for i in reached], u, [v[i] for i in reached], retain_graph=True
        )
        return torch.autograd.grad(
            output, inputs, curve(Jv), retain_graph=True, materialize_grads=True
        )

    return product


def _on_tape(tape: Tape, evaluation: Evaluation, _: Batch) -> BatchProduct:
    output_of(evaluation)
    return tape.ggn()


GGN = Curvature("GGN", 4 / 3, ggn_product, _on_tape)
