"""The page of a worked pass: what it says, the graph, every line, the curves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from thalweg.report import Block, Code, Page, Section, Table, Text, Tone
from thalweg.sheet._curves import curves_of
from thalweg.sheet._drawing import drawing_of
from thalweg.sheet._graph import Graph, Node
from thalweg.sheet._lines import chain_lines, derivative, gradient_of
from thalweg.sheet._numbers import held, number, shown
from thalweg.sheet._remarks import learnt

if TYPE_CHECKING:
    from thalweg.sheet._worked import WorkedPass


_SHORT = 28
"""Letters of a formula that is not broken."""


def page_of(worked: WorkedPass, digits: int) -> Page:
    """Describes the page."""
    graph = worked.graph
    loss = graph[graph.loss]
    sections = [
        Section("Forward", _forward_sentence(graph), (_forward(graph, digits),)),
        Section(
            "Backward",
            f"δ is the gradient of {loss.label.text} towards what a quantity goes into.",
            (_backward(graph, digits),),
        ),
        *_chains(graph, digits),
        *_pictures(graph),
        *_others(worked),
        Section("The text", "", (Code(worked.text),), is_folded=True),
    ]
    remarks = [remark.text for remark in worked.remarks]
    return Page(
        title=worked.title,
        verdict=f"{loss.label.text} = {shown(loss.value.reshape(()), digits).text}",
        tone=Tone.PLAIN,
        lead=" ".join(remarks),
        sections=tuple(sections),
        footer=worked.proof,
    )


def _forward_sentence(graph: Graph) -> str:
    num = sum(bool(node.operation) for node in graph.nodes)
    return (
        f"{num} operation{'s' if num != 1 else ''}, each with its value and the derivative towards "
        f"each of its inputs."
    )


def _forward(graph: Graph, digits: int) -> Table:
    rows = []
    for node in graph.nodes:
        if node.is_constant:
            continue
        what = _what(node)
        first = [node.label.text, what, shown(node.value, digits).text]
        locals_ = [
            [derivative(node, local).text, local.formula.text, shown(local.value, digits).text]
            for local in node.locals
        ] or [["", "", ""]]
        for number_, local in enumerate(locals_):
            rows.append([*(first if not number_ else ["", "", ""]), *_without_echo(local)])
    return Table(("quantity", "is", "value", "derivative", "formula", "local value"), rows)


def _what(node: Node) -> str:
    if node.is_given:
        return f"given ({node.origin})" if node.origin else "given"
    formula = _unbroken(node.formula.text)
    return f"{formula} ({node.origin})" if node.origin else formula


def _unbroken(text: str) -> str:
    """A short formula stays on its line."""
    return text.replace(" ", "\u00a0") if len(text) <= _SHORT else text


def _without_echo(cells: list[str]) -> list[str]:
    """Without a formula that is the number itself."""
    return [cells[0], "" if cells[1] == cells[2] else cells[1], cells[2]]


def _backward(graph: Graph, digits: int) -> Table:
    loss = graph[graph.loss]
    rows = []
    for node in reversed(graph.nodes):
        if not node.takes_gradient:
            continue
        symbol, total = gradient_of(loss, node).text, shown(node.gradient, digits).text
        users = graph.users(node.name)
        if not users:
            why = "the loss itself" if node.name == graph.loss else "does not enter the loss"
            rows.append([symbol, why, "", total])
            continue
        for number_, (user, local) in enumerate(users):
            rule = f"{_unbroken(local.rule.text)}, through {_unbroken(user.label.text)}"
            part = shown(local.gradient, digits).text
            is_scalar = node.value.ndim == user.value.ndim == 0
            if is_scalar and local.formula.text not in ("1", "−1"):
                factors = [held(shown(v, digits)).text for v in (user.gradient, local.value)]
                numbers = " · ".join(factors)
            else:
                numbers = part if len(users) > 1 else ""
            is_only = len(users) == 1
            rows.append([symbol if not number_ else "", rule, numbers, part if is_only else ""])
        if len(users) > 1:
            rows.append(["", f"sum over {len(users)} paths", "", total])
    return Table(("gradient", "rule", "numbers", "value"), rows)


def _chains(graph: Graph, digits: int) -> list[Section]:
    lines = chain_lines(graph, digits)
    if not lines:
        return []
    text = "\n".join("\n    = ".join(member.text for member in line.members) for line in lines)
    return [Section("Back to what is given", "The whole chain, from the loss.", (Code(text),))]


def _pictures(graph: Graph) -> list[Section]:
    sections = []
    drawing = drawing_of(graph)
    if drawing is not None:
        sections.append(Section("The graph", "", (drawing,)))
    else:
        text = f"With {len(graph.nodes)} quantities the graph is too large for a picture."
        sections.append(Section("The graph", "", (Text(text),)))
    curves: tuple[Block, ...] = curves_of(graph)
    if curves:
        sections.append(Section("Activations", "Where this pass stands on their curves.", curves))
    return sections


def _others(worked: WorkedPass) -> list[Section]:
    """What other activations would have given."""
    if not worked.alternatives:
        return []
    graph = worked.graph
    nodes = learnt(graph)[:4]
    loss = graph[graph.loss]
    header = ["activations", loss.label.text, *(_size_label(loss, node) for node in nodes)]
    here = ["as given", number(float(loss.value), 6).text, *(_size(n.gradient) for n in nodes)]
    rows = [here]
    for other in worked.alternatives:
        sizes = [_size(other.gradients[node.name]) for node in nodes]
        rows.append([f"all {other.activation}", number(other.loss, 6).text, *sizes])
    sentence = "The same text run again with each other activation."
    return [Section("Other activations", sentence, (Table(header, rows),))]


def _size_label(loss: Node, node: Node) -> str:
    text = gradient_of(loss, node).text
    return text if node.gradient.ndim == 0 else f"‖{text}‖"


def _size(gradient: Tensor) -> str:
    return number(float(gradient if gradient.ndim == 0 else gradient.norm()), 6).text
