"""The lines of a worked pass as mathematics, for every rendering that sets formulas."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.sheet._chain import chain_of
from thalweg.sheet._graph import Graph, Local, Node
from thalweg.sheet._numbers import held, is_exact, shown
from thalweg.symbolic import Label


@dataclass(frozen=True)
class Line:
    """An equality with its members.

    Args:
        members: from left to right.
        is_rounded: whether the last one is.
    """

    members: tuple[Label, ...]
    is_rounded: bool = False

    @property
    def latex(self) -> str:
        """With = and ≈ between the members."""
        *first, last = (member.latex for member in self.members)
        sign = r"\approx" if self.is_rounded else "="
        return f"{' = '.join(first)} {sign} {last}"


def given_lines(graph: Graph, digits: int) -> list[Line]:
    """What is given."""
    return [
        Line((node.label, shown(node.value, digits)), not is_exact(node.value, digits))
        for node in graph.nodes
        if node.is_given
    ]


def forward_lines(graph: Graph, digits: int) -> list[Line]:
    """Each operation: its formula, the numbers in it, its value."""
    lines = []
    for node in graph.nodes:
        if node.is_given or node.is_constant:
            continue
        members = [node.label, node.formula]
        inputs = [graph[name] for name in node.inputs]
        if node.value.ndim == 0 and all(source.value.ndim == 0 for source in inputs):
            members.append(_filled(node, inputs, digits))
        members.append(shown(node.value, digits))
        lines.append(Line(_distinct(members), not is_exact(node.value, digits)))
    return lines


def local_lines(graph: Graph, digits: int) -> list[Line]:
    """Each local derivative: its formula and its value."""
    return [
        Line(
            _distinct([derivative(node, local), local.formula, shown(local.value, digits)]),
            not is_exact(local.value, digits),
        )
        for node in graph.nodes
        for local in node.locals
    ]


def backward_lines(graph: Graph, digits: int) -> list[Line]:
    """Each gradient: the rule, or the sum over paths, and its value; from the loss backward."""
    lines = []
    loss = graph[graph.loss]
    for node in reversed(graph.nodes):
        if not node.takes_gradient:
            continue
        members = [gradient_of(loss, node), *_rule(graph, loss, node, digits)]
        members.append(shown(node.gradient, digits))
        lines.append(Line(_distinct(members), not is_exact(node.gradient, digits)))
    return lines


def chain_lines(graph: Graph, digits: int) -> list[Line]:
    """Each gradient of what is given, traced back to the loss."""
    lines = []
    for node in graph.nodes:
        chain = chain_of(graph, node.name, digits) if node.is_given else ()
        if chain:
            members = [gradient_of(graph[graph.loss], node), *chain, shown(node.gradient, digits)]
            lines.append(Line(_distinct(members), not is_exact(node.gradient, digits)))
    return lines


def derivative(node: Node, local: Local) -> Label:
    """∂y/∂a."""
    return _quotient(node.label, Label.of_name(local.towards))


def gradient_of(loss: Node, node: Node) -> Label:
    """∂L/∂q."""
    return _quotient(loss.label, node.label)


def _quotient(over: Label, under: Label) -> Label:
    return Label(
        f"∂{over.text}/∂{under.text}",
        f"\\frac{{\\partial {over.latex}}}{{\\partial {under.latex}}}",
    )


def _rule(graph: Graph, loss: Node, node: Node, digits: int) -> list[Label]:
    users = graph.users(node.name)
    if not users:
        return []
    parts = [local.pattern.filled(d=gradient_of(loss, user)) for user, local in users]
    members = [_added(parts)]
    if len(users) > 1:
        members.append(_added([held(shown(local.gradient, digits)) for _, local in users]))
    elif node.value.ndim == 0 and users[0][0].value.ndim == 0:
        user, local = users[0]
        if local.formula.text not in ("1", "−1"):
            factors = [held(shown(v, digits)) for v in (user.gradient, local.value)]
            members.append(
                Label(
                    " · ".join(factor.text for factor in factors),
                    r" \cdot ".join(factor.latex for factor in factors),
                )
            )
    return members


def _added(parts: list[Label]) -> Label:
    return Label(" + ".join(p.text for p in parts), " + ".join(p.latex for p in parts))


def _filled(node: Node, inputs: list[Node], digits: int) -> Label:
    """The formula with numbers for letters."""
    labels = [
        source.label if source.is_constant else held(shown(source.value, digits))
        for source in inputs
    ]
    letters = dict(zip("ab", labels, strict=False))
    letters |= {f"i{n}": label for n, label in enumerate(labels)}
    return node.pattern.filled(**letters)


def _distinct(members: list[Label]) -> tuple[Label, ...]:
    """Without what only repeats the member before."""
    kept = [members[0]]
    for member in members[1:]:
        if member.latex != kept[-1].latex:
            kept.append(member)
    return tuple(kept)
