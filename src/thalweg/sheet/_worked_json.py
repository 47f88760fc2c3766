"""A worked pass as it is told in JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from thalweg.sheet._graph import Local, Node, Path
from thalweg.sheet._remarks import Alternative

if TYPE_CHECKING:
    from thalweg.sheet._worked import WorkedPass


@dataclass(frozen=True)
class LocalRecord:
    """The derivative of an operation towards one of its inputs.

    Args:
        towards: name of the input.
        formula: of the derivative, such as h · (1 − h).
        value: of it.
        rule: how the gradient δ of the output goes back, such as δ xᵀ.
        gradient: what comes back to the input on this way.
    """

    towards: str
    formula: str
    value: Tensor
    rule: str
    gradient: Tensor


@dataclass(frozen=True)
class NodeRecord:
    """A quantity: what is given, or what one operation gives.

    Args:
        name: in the one spelling.
        operation: what it is called; "constant" or "given" where it is none.
        formula: the operation with the names of its inputs.
        latex: the equation.
        inputs: names of the inputs, in the operation's order.
        shape: of the value.
        value: a number, vector or matrix in float64.
        locals: the derivatives towards those inputs that are no constants.
        gradient: ∂L/∂value; null for a constant and whole numbers.
        paths: what the gradient is the sum of, one a use.
        line: where it stands in the text; null for what stands inside a line or in a module.
        origin: where a module keeps it or makes it; "" in a text.
        note: what is to be said of it, such as a kink.
    """

    name: str
    operation: str
    formula: str
    latex: str
    inputs: tuple[str, ...]
    shape: tuple[int, ...]
    value: Tensor
    locals: tuple[LocalRecord, ...]
    gradient: Tensor | None
    paths: tuple[Path, ...]
    line: int | None
    origin: str
    note: str


@dataclass(frozen=True)
class CheckRecord:
    """How the numbers were proved.

    Args:
        by: what they were compared with.
        numbers: how many were.
        within_rounding_only: of these, whose digits cancel.
        largest_relative_difference: of the others.
    """

    by: str
    numbers: int
    within_rounding_only: int
    largest_relative_difference: float


@dataclass(frozen=True)
class WorkedRecord:
    """The forward and backward pass of a small computation.

    Args:
        title: of the computation.
        text: that it was read from, or that stands for the module.
        loss: name of what is derived.
        nodes: in the order of computation.
        checked: how the numbers were proved.
        remarks: in sentences.
        alternatives: the same run with other activations.
    """

    title: str
    text: str
    loss: str
    nodes: tuple[NodeRecord, ...]
    checked: CheckRecord
    remarks: tuple[str, ...]
    alternatives: tuple[Alternative, ...]


def record_of(worked: WorkedPass) -> WorkedRecord:
    """What is told of a worked pass; numbers in full."""
    graph = worked.graph
    return WorkedRecord(
        title=worked.title,
        text=worked.text,
        loss=graph.loss,
        nodes=tuple(map(_node, graph.nodes)),
        checked=CheckRecord(
            "torch autograd in float64", graph.num_checked, graph.num_rounded, graph.deviation
        ),
        remarks=tuple(remark.text for remark in worked.remarks),
        alternatives=worked.alternatives,
    )


def _node(node: Node) -> NodeRecord:
    return NodeRecord(
        name=node.name,
        operation=node.operation or ("constant" if node.is_constant else "given"),
        formula=node.formula.text,
        latex=f"{node.label.latex} = {node.formula.latex}",
        inputs=node.inputs,
        shape=tuple(node.shape),
        value=node.value,
        locals=tuple(map(_local, node.locals)),
        gradient=node.gradient if node.takes_gradient else None,
        paths=node.paths,
        line=node.line,
        origin=node.origin,
        note=node.note,
    )


def _local(local: Local) -> LocalRecord:
    return LocalRecord(
        local.towards, local.formula.text, local.value, local.rule.text, local.gradient
    )
