"""Records the operations of a forward pass as they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

aten = torch.ops.aten


class UntapedError(Exception):
    """Something in a forward pass that no tape can follow. Nobody sees it: autograd takes over."""


@dataclass(frozen=True)
class Entry:
    """One recorded operation; its tensors are told apart by identity."""

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any


class Recorder(TorchDispatchMode):
    """Notes every operation below autograd, with the very tensors that autograd sees.

    An operation in place is noted as its twin that is not: in all that was noted before, a copy
    stands for the tensor that it overwrites.
    """

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs the operation, and notes it."""
        kwargs = kwargs or {}
        noted, given = self._twin(func, args) if func._schema.is_mutable else (func, args)
        output = func(*args, **kwargs)
        # Autograd detaches what it saves; what a model detaches is a constant all the same.
        if func is not aten.detach.default:
            self.entries.append(Entry(noted, given, kwargs, output))
        return output

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Keeping the compiler out of __torch_dispatch__ would import it, which takes a second.
        return False

    def _twin(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """The operation that returns what this one writes, and the arguments as they were."""
        name = func._schema.name.split("::")[1]
        packet = getattr(aten, name.removesuffix("_"), None)
        twin = getattr(packet, func._overloadname, None)
        target = args[0] if args else None
        if twin is None or not name.endswith("_") or not isinstance(target, Tensor):
            raise UntapedError(f"{name} writes into its arguments")
        if self._is_shared(target) or any(other is target for other in args[1:]):
            raise UntapedError(f"{name} writes into a tensor that is seen elsewhere")
        copy = target.detach().clone().requires_grad_(target.requires_grad)
        self.entries = [
            Entry(e.function, _exchanged(e.args, target, copy), e.kwargs,
                  _exchanged(e.output, target, copy))
            for e in self.entries
        ]  # fmt: skip
        return twin, (copy, *args[1:])

    def _is_shared(self, target: Tensor) -> bool:
        storage = target.untyped_storage().data_ptr()
        return target._is_view() or any(
            tensor is not target and tensor.untyped_storage().data_ptr() == storage
            for entry in self.entries
            for tensor in tensors_of((entry.args, entry.output))
        )


def record(forward: Callable[[], Any]) -> tuple[list[Entry], Any]:
    """The operations of a forward pass, and what it returned.

    Raises:
        UntapedError: where an operation writes into tensors that are seen elsewhere.
    """
    recorder = Recorder()
    with recorder:
        result = forward()
    return recorder.entries, result


def tensors_of(tree: Any) -> list[Tensor]:
    """The tensors of an operation's arguments or outputs, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, tuple | list):
        return [tensor for part in tree for tensor in tensors_of(part)]
    return []


def _exchanged(tree: Any, old: Tensor, new: Tensor) -> Any:
    if tree is old:
        return new
    if isinstance(tree, tuple | list):
        return type(tree)(_exchanged(part, old, new) for part in tree)
    return tree
