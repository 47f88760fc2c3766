"""Singular values of the Jacobian of every layer, and of the whole network, at one sample."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._batch import Batch, call_of, map_tensors, num_samples, take, tensors_in
from thalweg._errors import ProblemError
from thalweg._frozen import uses_batch_statistics
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg.linalg import LinearOperator, SingularValues, from_products, singular_values

INPUT, OUTPUT = "input", "output"


@dataclass(frozen=True)
class LayerJacobian:
    """∂(what a layer returns)/∂(what the layer before it returned), at one sample.

    Args:
        name: the layer; "output" for what the network returns.
        source: the layer before it that it depends on; "input" for the data.
        shape: (outputs, inputs).
        singular: its singular values at both ends, with residuals.
    """

    name: str
    source: str
    shape: tuple[int, int]
    singular: SingularValues

    def __str__(self) -> str:
        largest = float(self.singular.largest.values[0])
        smallest = float(self.singular.smallest.values[-1])
        doubt = float(self.singular.largest.residuals[0])
        least = "" if self.singular.is_exhausted else "≤ "
        return (
            f"{self.source} → {self.name}: {self.shape[0]}×{self.shape[1]}, σ_max {largest:.4g} "
            f"± {doubt:.1g}, σ_min {least}{smallest:.4g}"
        )


@dataclass(frozen=True)
class Jacobians:
    """The Jacobians of a network at one sample.

    Args:
        layers: from what each layer that mixes units returns to the next one, activation and
            whatever else lies between included.
        end_to_end: of the output by the input; None where the input has no floating numbers
            (tokens): `layers` then begin at the embedding.
        sample: which sample it is.
    """

    layers: tuple[LayerJacobian, ...]
    end_to_end: LayerJacobian | None
    sample: int

    def __str__(self) -> str:
        rows = [*self.layers, *([self.end_to_end] if self.end_to_end else [])]
        return "\n".join(map(str, rows))


def jacobians(
    problem: Problem, sample: int = 0, k: int = 3, *, generator: torch.Generator, tol: float = 1e-6
) -> Jacobians:
    """Singular values of every layer's Jacobian and of the end-to-end one, by products alone.

        J v = ∂/∂u ⟨Jᵀ u, v⟩,   Jᵀ u by backpropagation

    Args:
        problem: the network, in the mode it is in.
        sample: which sample of the data, counted over the batches.
        k: singular values wanted at each end.
        generator: draws the starts of the larger ones.
        tol: wanted residual, as a share of σ_max.

    Raises:
        ProblemError: if there is no such sample, a layer normalises by the batch, or the output is
            no tensor.

    Cost: a gradient of one sample for each two products: min(m, n) products for a layer of up to
    256 units, and some hundred at most for larger ones.

    Source: Pennington, Schoenholz, Ganguli 2017 for what the spectrum means; the product by two
    backward passes is Pearlmutter's trick turned around (J. Townsend 2017), which needs no forward
    mode; `thalweg.linalg.singular_values`.

    Example:
        >>> import torch, thalweg
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 2))
        >>> _ = nn.init.eye_(model[0].weight), nn.init.eye_(model[2].weight)
        >>> data = (torch.tensor([[1.0, -1.0]]), torch.zeros(1, 2))
        >>> problem = thalweg.Problem(model, nn.functional.mse_loss, data)
        >>> found = jacobians(problem, generator=torch.Generator().manual_seed(0))
        >>> found.end_to_end.singular.largest.values
        tensor([1., 0.])
    """
    problem.ranks.refuse("jacobians(problem)")
    problem.check()
    if mixing := [n for n, m in problem.shadow.named_modules() if uses_batch_statistics(m)]:
        raise ProblemError(
            f"module {mixing[0]!r} normalises by the batch, so that no sample has a Jacobian of "
            f"its own; jacobians(problem.in_eval_mode()) or (problem.with_frozen_statistics())"
        )
    batch = _sample(problem, sample)
    with reading():
        values = _values(problem, batch)
        rows = []
        for at, (name, value) in enumerate(values[1:], 1):
            source = next((s for s in reversed(values[:at]) if _depends(value, s[1])), None)
            if source is not None and (name != OUTPUT or at == 1 or not _is_same(value, source[1])):
                rows.append(_row(name, value, *source, k, generator, tol))
        whole = None
        if values[0][0] == INPUT and _depends(values[-1][1], values[0][1]):
            whole = _row(OUTPUT, values[-1][1], *values[0], k, generator, tol)
    return Jacobians(tuple(rows), whole, sample)


def _sample(problem: Problem, sample: int) -> Batch:
    index = sample
    for batch in problem.batches:
        size = num_samples(batch)
        if 0 <= index < size:
            return take(batch, slice(index, index + 1))
        index -= size
    raise ProblemError(
        f"jacobians(problem, sample={sample}): give a number from 0 to {problem.num_samples - 1}"
    )


def _values(problem: Problem, batch: Batch) -> list[tuple[str, Tensor]]:
    """The input, what every layer with a matrix returned, and the output, all on one graph."""
    call = call_of(batch, problem.shadow)
    floating = [t for t in tensors_in((call.args, call.kwargs)) if t.is_floating_point()]
    values: list[tuple[str, Tensor]] = []
    if floating:
        attached = floating[0].detach().clone().requires_grad_()
        values.append((INPUT, attached))
        batch = map_tensors(batch, lambda t: attached if t is floating[0] else t)
    params = {name: p.detach() for name, p in problem.parameters.items()}
    with _keeping(problem.shadow, values):
        output = problem.forward(params, batch, "one sample").logits
    if not isinstance(output, Tensor):
        raise ProblemError(
            f"the model returns a {type(output).__name__}, and a Jacobian is of one tensor; wrap "
            f"the model in one that returns the tensor you mean"
        )
    return [*values, (OUTPUT, output)]


@contextmanager
def _keeping(model: nn.Module, values: list[tuple[str, Tensor]]) -> Iterator[None]:
    names = {module: name for name, module in model.named_modules()}
    calls: dict[str, int] = {}

    def keep(module: nn.Module, _: Any, output: Any) -> Any:
        if not any(p.ndim >= 2 for p in module.parameters(recurse=False)):
            return None
        found = [t for t in tensors_in(output) if t.is_floating_point()]
        if not found:
            return None
        z = found[0] if found[0].requires_grad else found[0].detach().requires_grad_()
        name = names[module]
        calls[name] = calls.get(name, 0) + 1
        values.append((name if calls[name] == 1 else f"{name}#{calls[name]}", z))
        # What follows may write into it; it is handed a copy.
        return map_tensors(output, lambda t: z.clone() if t is found[0] else t)

    handles = [module.register_forward_hook(keep) for module in names]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _depends(y: Tensor, x: Tensor) -> bool:
    if y is x or not y.requires_grad:
        return False
    (found,) = torch.autograd.grad(y, x, torch.ones_like(y), retain_graph=True, allow_unused=True)
    return found is not None


def _is_same(output: Tensor, last: Tensor) -> bool:
    """Whether the output is the last layer's own, so that a row for it would say nothing."""
    return output.numel() == last.numel() and bool(
        torch.equal(output.reshape(-1), last.reshape(-1))
    )


def _operator(y: Tensor, x: Tensor) -> LinearOperator:
    u = torch.zeros_like(y, requires_grad=True)
    (back,) = torch.autograd.grad(y, x, u, create_graph=True, materialize_grads=True)

    def forward(v: Tensor) -> Tensor:
        if not back.requires_grad:
            return torch.zeros_like(y).reshape(-1)
        (product,) = torch.autograd.grad(
            back, u, v.view_as(x), retain_graph=True, materialize_grads=True
        )
        return product.reshape(-1)

    def adjoint(w: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(
            y, x, w.view_as(y), retain_graph=True, materialize_grads=True
        )
        return product.reshape(-1)

    shape = (y.numel(), x.numel())
    return from_products(forward, adjoint, shape, dtype=x.dtype, device=x.device)


def _row(
    name: str,
    y: Tensor,
    source: str,
    x: Tensor,
    k: int,
    generator: torch.Generator,
    tol: float,
) -> LayerJacobian:
    operator = _operator(y, x)
    found = singular_values(operator, k, generator=generator, tol=tol)
    return LayerJacobian(name, source, operator.shape, found)
