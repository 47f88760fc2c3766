"""Tape: the operations between parameters and loss, with their derivatives ready to multiply by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from thalweg._errors import UntapedError
from thalweg.tape._freed_memory import keep_freed_memory
from thalweg.tape._record import Entry, record, tensors_of
from thalweg.tape._rule import BlockRule, Call, Rule
from thalweg.tape._rules import rule_of

Tensors = tuple[Tensor, ...]
Product = Callable[[Tensors], Tensors]
"""v ↦ A v, one tensor a leaf."""

Slots = list[Tensor | None]
"""One tangent or adjoint for every value on the tape; None is zero."""


class Tape:
    """A forward pass as the list of its operations, at one point.

    Recorded once, it multiplies by the Hessian and the generalised Gauss-Newton matrix with every
    coefficient computed beforehand: a product runs through the list forwards and backwards.

        forwards     ẏ = f'(x) ẋ
        backwards    x̄' = f'(x)ᵀ ȳ' + (∂(f'(x)ᵀȳ)/∂x) ẋ

    Args:
        forward: runs the model; returns the scalar loss and the output tensor.
        leaves: the tensors to differentiate by, which require gradients.

    Raises:
        UntapedError: where an operation cannot be followed.

    Source: Pearlmutter 1994, "Fast exact multiplication by the Hessian" (the R-operator).
    """

    def __init__(
        self, forward: Callable[[], tuple[Tensor, Tensor]], leaves: Sequence[Tensor]
    ) -> None:
        keep_freed_memory()
        entries, (loss, output) = record(forward)
        # Which value is which is told by identity, for as long as the recording is held.
        slots = {id(leaf): place for place, leaf in enumerate(leaves)}
        calls = [call for entry in entries if (call := _placed(entry, slots))]
        if id(loss) not in slots:
            raise UntapedError("the loss is not the result of an operation on record")
        self._leaves = [leaf.detach() for leaf in leaves]
        self._loss = slots[id(loss)]
        self._output = slots.get(id(output))
        self._one = torch.ones_like(loss)
        self._count = len(slots)
        with torch.no_grad():
            self._nodes = _live(calls, slots, {self._loss, self._output})

    @property
    def gradient(self) -> tuple[Tensor | None, ...]:
        """∂L/∂θ, one tensor a leaf; None where the loss is not computed from it."""
        return tuple(self._whole.adjoints[: len(self._leaves)])

    def hessian(self) -> Product:
        """V ↦ ∇²L v."""
        whole = self._whole

        def product(v: Tensors) -> Tensors:
            with torch.no_grad():
                return self._filled(whole.turned(self._seeded(dict(enumerate(v)))))

        return product

    def hessian_of_block(self) -> Product | None:
        """The same for k vectors at once, each leaf's as (k, *shape).

        None where an operation has no rule for blocks.
        """
        turned = self._whole.in_blocks(range(len(self._leaves)))
        if turned is None:
            return None

        def product(V: Tensors) -> Tensors:
            with torch.no_grad():
                found = turned(self._seeded(dict(enumerate(V))))
                return tuple(
                    torch.zeros_like(given) if adjoint is None else adjoint
                    for given, adjoint in zip(V, found, strict=False)
                )

        return product

    @property
    def widest(self) -> int:
        """Numbers in the largest value on the tape."""
        return max(node.size for node in self._nodes)

    def ggn(self) -> Product:
        """V ↦ Jᵀ(∇²_z L)J v, with J = ∂z/∂θ and z the output."""
        output, tail = self._output_slot(), self._tail

        def curve(Jv: Tensor) -> Tensor | None:
            return tail.turned(self._seeded({output: Jv}))[output]

        return self.gram(curve)

    def gram(self, curve: Callable[[Tensor], Tensor | None]) -> Product:
        """V ↦ Jᵀ curve(J v)."""
        output, network = self._output_slot(), self._network

        def product(v: Tensors) -> Tensors:
            with torch.no_grad():
                Jv = network.pushed(self._seeded(dict(enumerate(v))))[output]
                curved = None if Jv is None else curve(Jv)
                return self._filled(network.pulled(self._seeded({output: curved})))

        return product

    def along(self, S: Sequence[Tensors]) -> tuple[Tensor, Tensor]:
        """Sᵀ∇L (k,) and SᵀJᵀ(∇²_z L)JS (k, k) of k directions, by their tangents alone.

        Nothing runs backwards through the network: with t = J s they are z̄ᵀt and tᵀ(∇²_z L)t.

        Args:
            S: the directions, each one tensor a leaf.
        """
        output, network, tail = self._output_slot(), self._network, self._tail
        z = tail.adjoints[output]
        with torch.no_grad():
            tangents = [network.pushed(self._seeded(dict(enumerate(s))))[output] for s in S]
            curved = [tail.turned(self._seeded({output: t}))[output] for t in tangents]
            slopes = [self._dot(z, t) for t in tangents]
            gram = [[self._dot(t, Ct) for Ct in curved] for t in tangents]
            return torch.stack(slopes), torch.stack([torch.stack(row) for row in gram])

    # -- how it is computed -----------------------------------------------------------------

    def _dot(self, one: Tensor | None, other: Tensor | None) -> Tensor:
        """A scalar product of what slots hold."""
        return self._one.new_zeros(()) if one is None or other is None else (one * other).sum()

    @cached_property
    def _whole(self) -> _Bent:
        """All operations that lead to the loss."""
        return self._bent(_leading_to(self._nodes, {self._loss}))

    @cached_property
    def _network(self) -> _Path:
        """The operations that lead to the output."""
        output = self._output_slot()
        return _Path(_leading_to(self._nodes, {output}), {output})

    @cached_property
    def _tail(self) -> _Bent:
        """The operations from the output to the loss."""
        reached: set[int | None] = {self._output_slot()}
        nodes = []
        for node in _leading_to(self._nodes, {self._loss}):
            if reached.isdisjoint(node.inputs):
                continue
            if not reached.issuperset(node.inputs):
                raise UntapedError("the loss depends on the parameters beside the output")
            nodes.append(node)
            reached |= set(node.outputs)
        return self._bent(nodes)

    def _output_slot(self) -> int:
        if self._output is None:
            raise UntapedError("the output is not the result of an operation on record")
        return self._output

    def _bent(self, nodes: list[_Node]) -> _Bent:
        with torch.no_grad():
            return _Bent(_Path(nodes), self._seeded({self._loss: self._one}))

    def _seeded(self, values: dict[int, Tensor | None]) -> Slots:
        slots: Slots = [None] * self._count
        for slot, value in values.items():
            slots[slot] = value
        return slots

    def _filled(self, slots: Slots) -> Tensors:
        return tuple(
            torch.zeros_like(leaf) if found is None else found
            for leaf, found in zip(self._leaves, slots, strict=False)
        )


class _Node:
    """One operation: its rule, and the slots that it reads and writes."""

    def __init__(self, call: Call, slots: dict[int, int]) -> None:
        self.rule: Rule = rule_of(call)
        self.inputs = tuple(slots[id(tensor)] for tensor in call.active)
        self.is_single = isinstance(call.output, Tensor)
        self.outputs = _output_slots(call, slots)
        self.size = max(y.numel() for y in tensors_of(call.output))

    def read(self, slots: Slots) -> Any:
        """What the slots of its outputs hold: one tensor, or a tuple; None where all are zero."""
        if self.is_single:
            return slots[self.outputs[0]]  # type: ignore[index]
        found = tuple(None if slot is None else slots[slot] for slot in self.outputs)
        return None if all(value is None for value in found) else found

    def take(self, slots: Slots) -> Any:
        """Reads them for the last time."""
        found = self.read(slots)
        for slot in self.outputs:
            if slot is not None:
                slots[slot] = None
        return found

    def tangents(self, slots: Slots) -> Tensors:
        """What the slots of its inputs hold."""
        return tuple(slots[slot] for slot in self.inputs)  # type: ignore[misc]

    def write(self, slots: Slots, pushed: Any) -> None:
        """Puts a tangent into the slots of its outputs."""
        for slot, value in zip(self.outputs, (pushed,) if self.is_single else pushed, strict=True):
            if slot is not None:
                slots[slot] = value

    def add(self, slots: Slots, adjoints: Iterable[Tensor | None]) -> None:
        """Adds adjoints to the slots of its inputs."""
        for slot, adjoint in zip(self.inputs, adjoints, strict=False):
            if adjoint is not None:
                before = slots[slot]
                slots[slot] = adjoint if before is None else before + adjoint


class _Path:
    """Operations in order, and which of their tangents somebody needs."""

    def __init__(self, nodes: list[_Node], needed: Iterable[int] = ()) -> None:
        self.nodes = nodes
        self.pushing: list[_Node] = []
        wanted = set(needed)
        for node in reversed(nodes):
            reads = not node.rule.is_linear
            if not wanted.isdisjoint(node.outputs):
                self.pushing.append(node)
                reads = True
            if reads:
                wanted |= set(node.inputs)
        self.pushing.reverse()

    def pushed(self, slots: Slots) -> Slots:
        """Runs tangents forwards."""
        for node in self.pushing:
            node.write(slots, node.rule.push(node.tangents(slots)))
        return slots

    def pulled(self, slots: Slots) -> Slots:
        """Runs adjoints backwards, each freed once it was read."""
        for node in reversed(self.nodes):
            if (adjoint := node.take(slots)) is not None:
                node.add(slots, node.rule.pull(adjoint))
        return slots


class _Bent:
    """A path around the adjoints of one point: multiplies by a second derivative.

    Of the adjoints, only those where the path begins are kept, and what the rules keep of others.
    """

    def __init__(self, path: _Path, adjoints: Slots) -> None:
        self._path = path
        self._backwards: list[_Node] = []
        for node in reversed(path.nodes):
            if (adjoint := node.take(adjoints)) is not None:
                node.rule.anchor(adjoint)
                node.add(adjoints, node.rule.pull(adjoint))
                self._backwards.append(node)
        self.adjoints = adjoints

    def turned(self, tangents: Slots) -> Slots:
        """The derivative of the adjoints where the path begins, along tangents.

        On the way back a tangent or adjoint is freed with the operation that made it: whatever
        else reads it came before.
        """
        self._path.pushed(tangents)
        slots: Slots = [None] * len(tangents)
        for node in self._backwards:
            turned, rule = node.take(slots), node.rule
            node.take(tangents)
            if rule.is_linear:
                if turned is not None:
                    node.add(slots, rule.pull(turned))
            else:
                node.add(slots, rule.repull(node.tangents(tangents), turned))
        return slots

    def in_blocks(self, leaves: Iterable[int]) -> Callable[[Slots], Slots] | None:
        """`turned` for k tangents at once; None where an operation has no rule for that."""
        weights, rules = set(leaves), dict[int, BlockRule]()
        for node in self._path.nodes:
            rule = node.rule.in_blocks(tuple(slot in weights for slot in node.inputs))
            if rule is not None and node.is_single:
                rules[id(node)] = rule
                weights |= {
                    slot for slot in node.outputs if rule.makes_weights and slot is not None
                }
        pushing = self._path.pushing
        backwards, reached = [], set[int | None]()
        for node in self._backwards:
            if not node.rule.is_linear or not reached.isdisjoint(node.outputs):
                backwards.append(node)
                reached |= set(node.inputs)
        if any(id(node) not in rules for node in (*pushing, *backwards)):
            return None

        def turned(tangents: Slots) -> Slots:
            for node in pushing:
                node.write(tangents, rules[id(node)].push(node.tangents(tangents)))
            slots: Slots = [None] * len(tangents)
            for node in backwards:
                rule, adjoint = rules[id(node)], node.take(slots)
                node.take(tangents)
                if not node.rule.is_linear:
                    node.add(slots, rule.repull(node.tangents(tangents), adjoint))
                elif adjoint is not None:
                    node.add(slots, rule.pull(adjoint))
            return slots

        return turned


def _placed(entry: Entry, slots: dict[int, int]) -> Call | None:
    """A recorded operation whose result depends on the leaves, its outputs given slots."""
    reads = [t for t in tensors_of(entry.args) if t.requires_grad]
    writes = [t for t in tensors_of(entry.output) if t.requires_grad]
    if not writes:
        return None
    if not reads or any(id(tensor) not in slots for tensor in reads):
        raise UntapedError(f"{entry.function} depends on the leaves in a way that was not seen")
    for tensor in writes:
        slots[id(tensor)] = len(slots)
    unique = tuple({id(t): t for t in reads}.values())
    return Call(
        entry.function, entry.args, entry.kwargs, entry.output, unique, len(reads) > len(unique)
    )


def _output_slots(call: Call, slots: dict[int, int]) -> tuple[int | None, ...]:
    outputs = (call.output,) if isinstance(call.output, Tensor) else call.output
    return tuple(
        slots.get(id(y)) if isinstance(y, Tensor) and y.requires_grad else None for y in outputs
    )


def _live(calls: list[Call], slots: dict[int, int], ends: set[int | None]) -> list[_Node]:
    """The nodes of the calls that lead to one of the ends; the others need no rule."""
    wanted, kept = set(ends), []
    for call in reversed(calls):
        if not wanted.isdisjoint(_output_slots(call, slots)):
            wanted |= {slots[id(tensor)] for tensor in call.active}
            kept.append(call)
    return [_Node(call, slots) for call in reversed(kept)]


def _leading_to(nodes: list[_Node], ends: set[int]) -> list[_Node]:
    wanted, kept = set(ends), []
    for node in reversed(nodes):
        if not wanted.isdisjoint(node.outputs):
            wanted |= set(node.inputs)
            kept.append(node)
    return kept[::-1]
