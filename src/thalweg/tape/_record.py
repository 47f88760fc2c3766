"""Records the operations of a forward pass as they run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from thalweg._errors import UntapedError

aten = torch.ops.aten


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
        super().__init__()  # type: ignore[no-untyped-call]
        self._entries: list[Entry] = []
        self._num_looked_up = 0
        self._tenants: dict[int, dict[int, Tensor]] = {}
        self._parts: dict[int, set[int]] = {}
        self._copies: dict[int, list[tuple[int, Tensor]]] = {}
        self.obstacle = ""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs the operation, and notes it."""
        kwargs = kwargs or {}
        noted, given = self._twin(func, args) if func._schema.is_mutable else (func, args)
        output = func(*args, **kwargs)
        # Autograd detaches what it saves; what a model detaches is a constant all the same.
        if func is not aten.detach.default:
            self._entries.append(Entry(noted, given, kwargs, output))
        return output

    def entries(self) -> list[Entry]:
        """The operations in order; what was overwritten later is a copy of what it was."""
        if not self._copies:
            return self._entries
        return [self._as_it_was(entry, place) for place, entry in enumerate(self._entries)]

    def _as_it_was(self, entry: Entry, place: int) -> Entry:
        def exchange(tensor: Tensor) -> Tensor:
            later = (copy for time, copy in self._copies.get(id(tensor), ()) if place < time)
            return next(later, tensor)

        args, output = _exchanged(entry.args, exchange), _exchanged(entry.output, exchange)
        return Entry(entry.function, args, entry.kwargs, output)

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Keeping the compiler out of __torch_dispatch__ would import it, which takes a second.
        return False

    def _look_up(self) -> None:
        """Notes who shares memory with whom, which only an operation in place asks for."""
        for entry in self._entries[self._num_looked_up :]:
            outputs = tensors_of(entry.output)
            for tensor in [*tensors_of(entry.args), *outputs]:
                # Nothing on record is freed, so that an address stays one tensor's.
                address = tensor.untyped_storage().data_ptr()
                self._tenants.setdefault(address, {})[id(tensor)] = tensor
            if len(outputs) > 1:
                parts = set(map(id, outputs))
                self._parts.update(dict.fromkeys(parts, parts))
        self._num_looked_up = len(self._entries)

    def _twin(self, func: Any, args: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
        """The operation that returns what this one writes, and the arguments as they were."""
        name = func._schema.name.split("::")[1]
        twin = _out_of_place(func, name)
        target = args[0] if args else None
        if twin is None or not isinstance(target, Tensor):
            self.obstacle = f"{name} writes into its arguments"
            return func, args
        if target._is_view() or any(other is target for other in args[1:]):
            self.obstacle = f"{name} writes into a view"
            return func, args
        # All that shares its memory changes with it, but for parts that one operation cut apart.
        self._look_up()
        apart = self._parts.get(id(target), set())
        tenants = self._tenants.get(target.untyped_storage().data_ptr(), {})
        overwritten = {key: t for key, t in tenants.items() if key not in apart}
        for tensor in {**overwritten, id(target): target}.values():
            copy = tensor.detach().clone().requires_grad_(tensor.requires_grad)
            self._copies.setdefault(id(tensor), []).append((len(self._entries), copy))
        return twin, (self._copies[id(target)][-1][1], *args[1:])


def record(forward: Callable[[], Any]) -> tuple[list[Entry], Any]:
    """The operations of a forward pass, and what it returned.

    Raises:
        UntapedError: where an operation writes into tensors that are seen elsewhere.
    """
    recorder = Recorder()
    with recorder:
        result = forward()
    if recorder.obstacle:
        raise UntapedError(recorder.obstacle)
    return recorder.entries(), result


def tensors_of(tree: Any) -> list[Tensor]:
    """The tensors of an operation's arguments or outputs, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    if isinstance(tree, tuple | list):
        return [tensor for part in tree for tensor in tensors_of(part)]
    return []


def _out_of_place(func: Any, name: str) -> Any:
    """The overload of `relu` that takes what this overload of `relu_` takes."""
    packet = getattr(aten, name.removesuffix("_"), None) if name.endswith("_") else None
    wanted = [(a.name, str(a.type)) for a in func._schema.arguments]
    for overload in packet.overloads() if packet else ():
        twin = getattr(packet, overload)
        if [(a.name, str(a.type)) for a in twin._schema.arguments] == wanted:
            return twin
    return None


def _exchanged(tree: Any, exchange: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(tree, Tensor):
        return exchange(tree)
    if isinstance(tree, tuple | list):
        return type(tree)(_exchanged(part, exchange) for part in tree)
    return tree
