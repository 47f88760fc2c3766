"""The Jacobian of the model's output in the parameters, over all batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import RanksError
from thalweg._graph import explaining, refuse_once_differentiable
from thalweg._layout import Layout
from thalweg._ranks import ALONE, Alone, facts_of_vector
from thalweg._reading import differentiating, reading
from thalweg.linalg import LinearOperator, SymmetricOperator


@dataclass(frozen=True)
class Linearised:
    """A tensor as a linear function of small changes of the parameters.

    Args:
        push: v ↦ J v, from one tensor a parameter, in the tensor's shape.
        pull: u ↦ Jᵀ u, back.
    """

    push: Callable[[tuple[Tensor, ...]], Tensor]
    pull: Callable[[Tensor], tuple[Tensor, ...]]


def linearised(leaves: dict[str, Tensor], output: Tensor) -> Linearised:
    """J of an output with its graph.

    Jᵀu is linear in u, so that J v is its derivative by u along v, whatever u is.

    Raises:
        SecondDerivativeError: if an operation's backward cannot be differentiated.
    """
    refuse_once_differentiable(output)
    inputs = tuple(leaves.values())
    zeros = tuple(map(torch.zeros_like, inputs))
    if not output.requires_grad:
        return Linearised(lambda v: torch.zeros_like(output), lambda u: zeros)
    at = torch.zeros_like(output, requires_grad=True)
    pulled = torch.autograd.grad(output, inputs, at, create_graph=True, allow_unused=True)
    reached = [i for i, p in enumerate(pulled) if p is not None and p.requires_grad]

    def push(v: tuple[Tensor, ...]) -> Tensor:
        if not reached:
            return torch.zeros_like(output)
        (along,) = torch.autograd.grad(
            [pulled[i] for i in reached], at, [v[i] for i in reached], retain_graph=True
        )
        return along

    def pull(u: Tensor) -> tuple[Tensor, ...]:
        u = u.to(output.dtype)
        return torch.autograd.grad(output, inputs, u, retain_graph=True, materialize_grads=True)

    return Linearised(push, pull)


class Jacobian(LinearOperator):
    """J = ∂z/∂θ, the outputs of all batches one after the other, each flattened row by row.

    `J @ v` takes a vector (n,), a block (n, k) or a dict by parameter name and returns (m,) or
    (m, k); `J.T @ u` returns (n,) or (n, k); `J.outputs(J @ v)` are the batches' own shapes.

    Where several processes share the data, each has the rows of its own: `J @ v` is theirs, and
    asks nobody. `J.T @ u`, u over the own rows, and `J.gram()` are sums over all ranks. JJᵀ is
    refused, since its rows lie on several processes.

    Args:
        layout: names and shapes of the n parameters.
        shapes: of the output of each batch.
        linearised_at: builds J of batch b, with its autograd graph.
        is_kept: whether graphs are kept between products, or rebuilt to save memory.
        ranks: the processes that share the data.
    """

    def __init__(
        self,
        layout: Layout,
        shapes: tuple[torch.Size, ...],
        linearised_at: Callable[[int], Linearised],
        is_kept: bool,
        ranks: Alone = ALONE,
    ) -> None:
        num_rows = sum(shape.numel() for shape in shapes)
        super().__init__((num_rows, layout.size), layout.dtype, layout.device)
        self.layout = layout
        self.shapes = shapes
        self.is_kept = is_kept
        self._linearised_at = linearised_at
        self._ranks = ranks
        self._kept: list[Linearised] | None = None

    @property
    def said(self) -> str:
        """How products are computed, in words."""
        return f"on a {'retained graph' if self.is_kept else 'graph rebuilt for each product'}"

    def outputs(self, u: Float[Tensor, " m"]) -> tuple[Tensor, ...]:
        """A vector over all outputs as one tensor a batch, in the shape of its output."""
        pieces = u.split([shape.numel() for shape in self.shapes])
        return tuple(p.reshape(shape) for p, shape in zip(pieces, self.shapes, strict=True))

    def __matmul__(self, other: Tensor | Mapping[str, Tensor]) -> Tensor:
        if isinstance(other, Mapping):
            other = self.layout.flatten(other)
        return super().__matmul__(other)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        columns = [tuple(self.layout.unflatten(v).values()) for v in V.unbind(1)]
        rows = []
        for J, shape in zip(self._linearisations(), self.shapes, strict=True):
            with differentiating(), explaining():
                parts = [J.push(column).detach().reshape(-1).to(V.dtype) for column in columns]
            rows.append(torch.stack(parts, 1) if parts else V.new_zeros(shape.numel(), 0))
        return torch.cat(rows)

    def _apply_adjoint(self, U: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        like = U.new_empty(self.layout.size, U.shape[1])
        return self._ranks.sum(lambda: self._own_adjoint(U), like)

    def _own_adjoint(self, U: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        total = U.new_zeros(self.layout.size, U.shape[1])
        pieces = U.split([shape.numel() for shape in self.shapes])
        for J, shape, piece in zip(self._linearisations(), self.shapes, pieces, strict=True):
            with differentiating(), explaining():
                pulled = [J.pull(u.reshape(shape)) for u in piece.unbind(1)]
            for i, parts in enumerate(pulled):
                total[:, i] += torch.cat([p.detach().reshape(-1) for p in parts])
        return total

    @property
    def T(self) -> LinearOperator:
        """The transpose: `J.T @ u` is Jᵀ u."""
        return super().T if self._ranks.is_alone else _SummedTranspose(self)

    def gram(self) -> SymmetricOperator:
        """JᵀJ as a symmetric n×n operator, over the rows of all ranks.

        Cost: two products each.
        """
        return super().gram() if self._ranks.is_alone else _SummedGram(self)

    def to_dense(self, *, chunk_size: int = 64, max_bytes: int = 4 * 2**30) -> Tensor:
        """The matrix itself; of several ranks the own rows. See `LinearOperator.to_dense`."""
        if self._ranks.is_alone:
            return super().to_dense(chunk_size=chunk_size, max_bytes=max_bytes)
        own = Jacobian(self.layout, self.shapes, self._linearised_at, self.is_kept)
        return own.to_dense(chunk_size=chunk_size, max_bytes=max_bytes)

    def _linearisations(self) -> Iterator[Linearised]:
        if self._kept is not None:
            return iter(self._kept)
        if not self.is_kept:
            return map(self._built, range(len(self.shapes)))
        self._kept = [self._built(index) for index in range(len(self.shapes))]
        return iter(self._kept)

    def _built(self, index: int) -> Linearised:
        with reading(), explaining():
            return self._linearised_at(index)


class _SummedGram(SymmetricOperator):
    """JᵀJ over the rows of all ranks, in one all-reduce."""

    def __init__(self, J: Jacobian) -> None:
        super().__init__(J.layout.size, J.dtype, J.device)
        self._J = J
        self._is_agreed = False

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._J,)

    def _apply(self, V: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        J = self._J
        if not self._is_agreed:
            J._ranks.agree(lambda: facts_of_vector(V))
            self._is_agreed = True
        return J._ranks.sum(lambda: J._own_adjoint(J._apply(V)), like=V, alike=V)


class _SummedTranspose(LinearOperator):
    """Jᵀ whose columns lie on several ranks: products are sums over all of them."""

    def __init__(self, J: Jacobian) -> None:
        super().__init__((J.shape[1], J.shape[0]), J.dtype, J.device)
        self._J = J

    def _made_of(self) -> tuple[LinearOperator, ...]:
        return (self._J,)

    def _apply(self, V: Float[Tensor, "m k"]) -> Float[Tensor, "n k"]:
        return self._J._apply_adjoint(V)

    def _apply_adjoint(self, U: Float[Tensor, "n k"]) -> Float[Tensor, "m k"]:
        return self._J._apply(U)

    @property
    def T(self) -> LinearOperator:
        """The transpose of the transpose."""
        return self._J

    def gram(self) -> SymmetricOperator:
        """JJᵀ, which is refused."""
        raise RanksError(
            "J.T.gram() is a matrix over outputs, which lie on several ranks; take J.gram(), which "
            "has the same eigenvalues but for zeros"
        )

    def to_dense(self, *, chunk_size: int = 64, max_bytes: int = 4 * 2**30) -> Tensor:
        """The own columns."""
        return self._J.to_dense(chunk_size=chunk_size, max_bytes=max_bytes).T
