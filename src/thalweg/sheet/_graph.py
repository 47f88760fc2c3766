"""Graph: a computation as its operations, each with value, local derivatives and gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType

from torch import Tensor

from thalweg._errors import FormulaError
from thalweg.sheet._operation import Form
from thalweg.symbolic import Label, normalised


@dataclass(frozen=True)
class Local:
    """The derivative of one operation towards one of its inputs.

    Args:
        towards: name of the input.
        value: J, shaped as `form` says.
        form: how δ goes back through it.
        formula: of J, such as h · (1 − h).
        pattern: how δ goes back, with $d for δ, such as $d xᵀ.
        gradient: what comes back to the input on this way.
    """

    towards: str
    value: Tensor
    form: Form
    formula: Label
    pattern: Label
    gradient: Tensor

    @property
    def rule(self) -> Label:
        """How the gradient δ of the output goes back, such as δ xᵀ."""
        return self.pattern.filled(d=Label("δ", r"\delta"))


@dataclass(frozen=True)
class Path:
    """One way on which a gradient comes back.

    Args:
        through: the node that the value goes into.
        gradient: what comes back from there [loss/value].
    """

    through: str
    gradient: Tensor


@dataclass(frozen=True)
class Node:
    """A quantity: what is given, or what one operation gives.

    Args:
        name: in the one spelling.
        label: as it is set.
        operation: what it is called, "" where it is given.
        formula: the operation with the names of its inputs; of what is given its digits.
        pattern: the operation with $a, $b for its inputs.
        inputs: names of the inputs, in the operation's order.
        value: a number, vector or matrix in float64.
        locals: the derivatives towards those inputs that are no constants.
        gradient: ∂L/∂value, of the same shape [loss/value].
        paths: what the gradient is the sum of, one a use.
        line: where it stands in the text; None for what stands inside a line or in a module.
        is_given: whether it comes from nowhere: a parameter, an input, a target.
        is_constant: whether it is a number within a formula, towards which nothing is derived.
        is_named: whether the text names it.
        is_data: whether a module is given it as data, or keeps it without learning it.
        is_whole: whether it is of whole numbers, towards which nothing is derived.
        note: what is to be said of it, such as a kink.
        origin: where a module keeps it or makes it, such as 0.weight; "" in a text.
    """

    name: str
    label: Label
    operation: str
    formula: Label
    pattern: Label
    inputs: tuple[str, ...]
    value: Tensor
    locals: tuple[Local, ...]
    gradient: Tensor
    paths: tuple[Path, ...]
    line: int | None = None
    is_given: bool = False
    is_constant: bool = False
    is_named: bool = True
    is_data: bool = False
    is_whole: bool = False
    note: str = ""
    origin: str = ""

    @property
    def takes_gradient(self) -> bool:
        """Whether anything is derived towards it."""
        return not (self.is_constant or self.is_whole)

    @property
    def shape(self) -> tuple[int, ...]:
        """() of a number, (n,) of a vector, (rows, columns) of a matrix."""
        return tuple(self.value.shape)


@dataclass(frozen=True)
class Graph:
    """A forward and backward pass, node by node, each number proved by autograd.

    Args:
        nodes: inputs before what they go into.
        loss: name of the node whose gradient is 1.
        num_checked: numbers compared with autograd: values, local derivatives, gradients.
        num_rounded: those of them that agree only within what float64 rounding explains, since
            digits cancel.
        deviation: largest relative difference of the others.

    Example:
        >>> from thalweg.sheet import graph_of
        >>> graph = graph_of("x = 3; y = x^2")
        >>> graph["x"].gradient
        tensor(6., dtype=torch.float64)
    """

    nodes: tuple[Node, ...]
    loss: str
    num_checked: int
    num_rounded: int
    deviation: float

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    def __getitem__(self, name: str) -> Node:
        """The quantity of a name, in any spelling.

        Raises:
            FormulaError: if there is none; lists what there is.
        """
        found = self._by_name.get(name) or self._by_name.get(normalised(name))
        if found is None:
            known = ", ".join(self.named)
            raise FormulaError(f"there is no quantity {name!r} in this computation; it has {known}")
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self._by_name or (bool(name) and normalised(name) in self._by_name)
        )

    @cached_property
    def _users(self) -> dict[str, tuple[tuple[Node, Local], ...]]:
        found: dict[str, tuple[tuple[Node, Local], ...]] = {}
        for node in self.nodes:
            for local in node.locals:
                found[local.towards] = (*found.get(local.towards, ()), (node, local))
        return found

    def users(self, name: str) -> tuple[tuple[Node, Local], ...]:
        """What a quantity goes into, with the derivative towards it, once for each use."""
        return self._users.get(name, ())

    @property
    def named(self) -> Mapping[str, Node]:
        """What the text names, by name, in the order of computing."""
        return MappingProxyType({n.name: n for n in self.nodes if n.is_named})
