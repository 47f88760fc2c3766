"""Any operation, by differentiating it alone with autograd."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from thalweg.tape._rule import Adjoints, Call, Rule, Tangents


class Local(Rule):
    """The rule of an operation without one of its own: autograd on a graph of this operation.

    With h(x, u) = f'(x)ᵀu, which is linear in u: f'(x) ẋ = ∂(hᵀẋ)/∂u, and since ∂h/∂x is the
    symmetric Hessian of uᵀf, its product with ẋ is ∂(hᵀẋ)/∂x.
    """

    def __init__(self, call: Call) -> None:
        with torch.enable_grad():
            leaves = {id(t): t.detach().requires_grad_() for t in call.active}
            args = _replaced(call.args, leaves)
            output = call.function(*args, **call.kwargs)
            outputs = output if isinstance(output, tuple | list) else (output,)
            self._is_single = not isinstance(output, tuple | list)
            self._reached = [i for i, y in enumerate(outputs) if _is_graph(y)]
            self._inputs = tuple(leaves.values())
            self._outputs = tuple(outputs[i] for i in self._reached)
            self._count = len(outputs)
            self._u = tuple(torch.zeros_like(y, requires_grad=True) for y in self._outputs)
            self._pulled = self._slope(self._u)
        self._anchored: tuple[Tensor | None, ...] | None = None

    def push(self, tangents: Tangents) -> Any:
        """∂(hᵀẋ)/∂u."""
        found = self._along(self._pulled, tangents, self._u)
        if self._is_single:
            return found[0]
        full: list[Tensor | None] = [None] * self._count
        for i, tangent in zip(self._reached, found, strict=True):
            full[i] = tangent
        return tuple(full)

    def pull(self, adjoint: Any) -> Adjoints:
        """f'(x)ᵀȳ by autograd."""
        pairs = [(y, a) for y, a in zip(self._outputs, self._picked(adjoint), strict=True)]
        kept = [(y, a) for y, a in pairs if a is not None]
        if not kept:
            return (None,) * len(self._inputs)
        return torch.autograd.grad(
            [y for y, _ in kept],
            self._inputs,
            [a for _, a in kept],
            retain_graph=True,
            allow_unused=True,
        )

    def anchor(self, adjoint: Any) -> None:
        """Builds the graph of h(x, ȳ)."""
        given = self._picked(adjoint)
        filled = tuple(
            torch.zeros_like(y) if a is None else a
            for y, a in zip(self._outputs, given, strict=True)
        )
        with torch.enable_grad():
            self._anchored = self._slope(filled)

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """h(x, ȳ') + ∂(h(x, ȳ)ᵀẋ)/∂x."""
        assert self._anchored is not None
        bent = self._along(self._anchored, tangents, self._inputs)
        if turned is None:
            return bent
        return tuple(map(_sum, bent, self.pull(turned)))

    def _slope(self, u: tuple[Tensor, ...]) -> tuple[Tensor | None, ...]:
        return torch.autograd.grad(
            self._outputs, self._inputs, u, create_graph=True, allow_unused=True
        )

    @staticmethod
    def _along(
        pulled: tuple[Tensor | None, ...], tangents: Tangents, by: tuple[Tensor, ...]
    ) -> tuple[Tensor, ...]:
        curved = [
            (h, t)
            for h, t in zip(pulled, tangents, strict=True)
            if h is not None and h.requires_grad
        ]
        if not curved:
            return tuple(map(torch.zeros_like, by))
        return torch.autograd.grad(
            [h for h, _ in curved],
            by,
            [t for _, t in curved],
            retain_graph=True,
            materialize_grads=True,
        )

    def _picked(self, full: Any) -> tuple[Any, ...]:
        return (full,) if self._is_single else tuple(full[i] for i in self._reached)


def _is_graph(value: Any) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def _sum(a: Tensor, b: Tensor | None) -> Tensor:
    return a if b is None else a + b


def _replaced(tree: Any, leaves: dict[int, Tensor]) -> Any:
    """The arguments of a call with its active tensors exchanged for leaves."""
    if isinstance(tree, Tensor):
        return leaves.get(id(tree), tree.detach())
    if isinstance(tree, tuple | list):
        return type(tree)(_replaced(part, leaves) for part in tree)
    return tree
