"""Routes: the ways in which a product with a curvature matrix can be computed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._errors import ThalwegError, UntapedError
from thalweg._evaluation import Evaluation
from thalweg._graph import custom_functions, refuse_once_differentiable
from thalweg._reading import differentiating, multiplying
from thalweg.tape import Tape

BatchProduct = Callable[[tuple[Tensor, ...]], tuple[Tensor, ...]]
"""v ↦ A_b v for one batch, both as one tensor a parameter."""


def zero_product(v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The product of a batch that the chosen parameters do not reach."""
    return tuple(map(torch.zeros_like, v))


@dataclass(frozen=True)
class Curvature:
    """One kind of curvature matrix, and its product by the means there are.

    Args:
        name: Hessian, GGN, ...
        cost: gradients a product, by count of operations, with the pass kept.
        by_autograd: the product on a retained graph.
        by_tape: the product on a tape, None where there is none.
        is_hessian: whether differences of gradients give it.
    """

    name: str
    cost: float
    by_autograd: Callable[[dict[str, Tensor], Evaluation, Batch], BatchProduct]
    by_tape: Callable[[Tape, Evaluation, Batch], BatchProduct] | None
    is_hessian: bool = False


@dataclass(frozen=True)
class Task:
    """A product to build: of one kind, at one point, on one batch.

    Args:
        kind: which matrix.
        leaves: makes fresh leaves at the point.
        forward: runs the forward pass of the batch at leaves.
        batch: the batch.
    """

    kind: Curvature
    leaves: Callable[[], dict[str, Tensor]]
    forward: Callable[[dict[str, Tensor]], Evaluation]
    batch: Batch


class Route(ABC):
    """A way to compute products."""

    is_kept = True
    """Whether what was built serves all products, or is built again for each."""

    extra_gradients = 0.0
    """Cost of a product beyond that of a pass that is kept."""

    @property
    @abstractmethod
    def said(self) -> str:
        """The route in words."""

    def guarding(self) -> AbstractContextManager[None]:
        """What a product runs in, so that the caller's modes do not matter."""
        return differentiating()

    @abstractmethod
    def build(self, task: Task) -> BatchProduct:
        """The product of one batch."""


@dataclass(frozen=True)
class RetainedGraph(Route):
    """Double backward on a gradient graph that is kept between products.

    Cost: 2 gradients a product of the Hessian, 4/3 of the GGN, by count of operations; memory for
    the graph of every batch.

    Example:
        >>> RetainedGraph().said
        'double backward on a retained graph'
    """

    @property
    def said(self) -> str:
        """The route in words."""
        return "double backward on a retained graph"

    def build(self, task: Task) -> BatchProduct:
        """Runs the forward pass and keeps the graph of its gradient."""
        leaves = task.leaves()
        evaluation = task.forward(leaves)
        refuse_once_differentiable(evaluation.loss)
        return task.kind.by_autograd(leaves, evaluation, task.batch)


@dataclass(frozen=True)
class RebuiltGraph(RetainedGraph):
    """The same with the graph of one batch at a time, built again for every product.

    Cost: one more gradient a product; memory for the graph of one batch.

    Example:
        >>> RebuiltGraph().is_kept
        False
    """

    is_kept = False
    extra_gradients = 1.0

    @property
    def said(self) -> str:
        """The route in words."""
        return "double backward, the graph rebuilt for each product to save memory"


@dataclass(frozen=True)
class Taped(Route):
    """Forward over reverse on a tape of the forward pass, every coefficient computed beforehand.

    Operations without a rule of their own are differentiated alone, by autograd.

    Cost: that of `RetainedGraph` by count of operations, in practice less: no activation, slope
    or normalisation is computed twice, and nothing is dispatched that comes to zero.

    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian".

    Example:
        >>> Taped().said
        'forward over reverse on a tape'
    """

    @property
    def said(self) -> str:
        """The route in words."""
        return "forward over reverse on a tape"

    def guarding(self) -> AbstractContextManager[None]:
        """No graph is recorded, nor any kernel chosen."""
        return multiplying()

    def build(self, task: Task) -> BatchProduct:
        """Records the forward pass.

        Raises:
            UntapedError: if it cannot be recorded; names the other route.
        """
        try:
            return taped(task)
        except UntapedError as error:
            raise UntapedError(
                f"this model cannot be put on a tape ({error}); pass route=RetainedGraph()"
            ) from error


@dataclass(frozen=True)
class FiniteDifference(Route):
    """H v ≈ (∇L(θ + hv̂) − ∇L(θ − hv̂)) ‖v‖/2h, for networks without a second derivative.

    Cost: 2 gradients a product; its error is about ε^⅔ of the third derivative's scale, far above
    that of every other route, and it is only taken when it is passed.

    Args:
        step: h, in parameter units; ε^⅓ max(1, ‖θ‖) when left out, which balances rounding against
            the third derivative.

    Source: Nocedal and Wright 2006, sec. 8.1 (central differences).

    Example:
        >>> FiniteDifference(1e-3).said
        'central differences of the gradient, step 0.001'
    """

    step: float | None = None

    @property
    def said(self) -> str:
        """The route in words."""
        step = "" if self.step is None else f", step {self.step:g}"
        return f"central differences of the gradient{step}"

    def build(self, task: Task) -> BatchProduct:
        """Keeps the point.

        Raises:
            ThalwegError: for a matrix other than the Hessian.
        """
        if not task.kind.is_hessian:
            raise ThalwegError(
                f"differences of gradients give the Hessian, not the {task.kind.name}; pass "
                f"route=RetainedGraph()"
            )
        centre = task.leaves()

        def slope(v: tuple[Tensor, ...], h: float) -> tuple[Tensor, ...]:
            moved = {
                name: (t.detach() + h * d).requires_grad_()
                for (name, t), d in zip(centre.items(), v, strict=True)
            }
            loss = task.forward(moved).loss
            if not loss.requires_grad:
                return tuple(map(torch.zeros_like, v))
            return torch.autograd.grad(loss, tuple(moved.values()), materialize_grads=True)

        def product(v: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            length = norm(v)
            if length == 0:
                return tuple(map(torch.zeros_like, v))
            size = norm(tuple(t.detach() for t in centre.values()))
            h = self.step or torch.finfo(v[0].dtype).eps ** (1 / 3) * max(1.0, size)
            ahead, behind = slope(v, h / length), slope(v, -h / length)
            return tuple((a - b) * (length / (2 * h)) for a, b in zip(ahead, behind, strict=True))

        return product


def norm(v: tuple[Tensor, ...]) -> float:
    """The length of a vector that comes as one tensor a parameter."""
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(t) for t in v])))


def taped(task: Task) -> BatchProduct:
    """Records the forward pass; raises UntapedError where it cannot be."""
    if task.kind.by_tape is None:
        raise UntapedError(f"its {task.kind.name} needs more than one pass")
    leaves = task.leaves()
    evaluations: list[Evaluation] = []

    def forward() -> tuple[Tensor, Tensor]:
        evaluations.append(task.forward(leaves))
        return evaluations[0].loss, evaluations[0].logits

    tape = Tape(forward, tuple(leaves.values()))
    if custom := custom_functions(evaluations[0].loss):
        raise UntapedError(f"{custom[0].__name__} has a derivative of its own")
    return task.kind.by_tape(tape, evaluations[0], task.batch)
