"""What one operation of a tape knows: its derivative forwards, backwards, and how that turns."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Tangents = tuple[Tensor, ...]
"""ẋ, one tensor for each active input."""

Adjoints = tuple[Tensor | None, ...]
"""x̄, one for each active input; None is zero."""


class Call:
    """One operation as it was called.

    Args:
        function: the aten overload.
        args: its positional arguments.
        kwargs: its keyword arguments.
        output: what it returned.
        active: the tensors among `args` that depend on the leaves, each once, in order.
        is_repeated: whether one of them stands in several places.
    """

    def __init__(
        self,
        function: Any,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
        active: tuple[Tensor, ...],
        is_repeated: bool,
    ) -> None:
        self.function = function
        self.args = args
        self.kwargs = kwargs
        self.output = output
        self.active = active
        self.is_repeated = is_repeated
        self._ids = {id(tensor) for tensor in active}

    def is_active(self, place: int) -> bool:
        """Whether the positional argument at this place depends on the leaves."""
        return place < len(self.args) and id(self.args[place]) in self._ids

    def argument(self, place: int, default: Any = None) -> Any:
        """The positional argument at this place, or its default."""
        return self.args[place] if place < len(self.args) else default


class Rule(ABC):
    """The first and second derivative of y = f(x) at one x, as products.

        push     ẋ ↦ ẏ = f'(x) ẋ
        pull     ȳ ↦ x̄ = f'(x)ᵀ ȳ
        repull   ẋ, ȳ' ↦ x̄' = f'(x)ᵀ ȳ' + (∂(f'(x)ᵀ ȳ)/∂x) ẋ   at the ȳ that `anchor` was given

    The last is the derivative of the pull along the tangent: Pearlmutter's R-operator.
    """

    is_linear = False
    """Whether f is linear in its active inputs, so that repull needs no tangent."""

    def in_blocks(self, are_weights: tuple[bool, ...]) -> BlockRule | None:  # noqa: ARG002
        """The same for several tangents at once, None where there is none; see `BlockRule`."""
        return None

    @abstractmethod
    def push(self, tangents: Tangents) -> Any:
        """ẏ; a tuple where f has several outputs."""

    @abstractmethod
    def pull(self, adjoint: Any) -> Adjoints:
        """x̄."""

    @abstractmethod
    def anchor(self, adjoint: Any) -> None:
        """Keeps what repull needs of ȳ."""

    @abstractmethod
    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:
        """x̄'; `turned` is ȳ', None where it is zero."""


class BlockRule(ABC):
    """Push, pull and repull of k tangents at once, for networks whose rows are samples.

    A tangent or adjoint of a weight of shape s has the shape (k, *s), one of a value of shape
    (m, ...), with a row for each sample, the shape (m, k, ...). So what belongs to a sample stays
    together, and k products of matrices are one that is k times as wide, without a copy.
    """

    makes_weights = False
    """Whether the result is a weight, laid out in another way."""

    @abstractmethod
    def push(self, tangents: Tangents) -> Tensor:
        """ẏ."""

    @abstractmethod
    def pull(self, adjoint: Tensor) -> Adjoints:
        """x̄."""

    @abstractmethod
    def repull(self, tangents: Tangents, turned: Tensor | None) -> Adjoints:
        """x̄'."""


class Linear(Rule):
    """y = A x + constant: the same push and pull at every x."""

    is_linear = True

    def __init__(self, push: Callable[..., Any], pull: Callable[[Any], Adjoints]) -> None:
        self._push = push
        self._pull = pull

    def push(self, tangents: Tangents) -> Any:
        """A ẋ."""
        return self._push(*tangents)

    def pull(self, adjoint: Any) -> Adjoints:
        """Aᵀ ȳ."""
        return self._pull(adjoint)

    def anchor(self, adjoint: Any) -> None:
        """Nothing: A does not turn."""

    def repull(self, tangents: Tangents, turned: Any) -> Adjoints:  # noqa: ARG002
        """Aᵀ ȳ'."""
        return () if turned is None else self._pull(turned)


def summed_to(tensor: Tensor, shape: torch.Size) -> Tensor:
    """The adjoint of broadcasting from `shape`."""
    return tensor if tensor.shape == shape else tensor.sum_to_size(shape)
