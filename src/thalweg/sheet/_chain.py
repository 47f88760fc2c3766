"""Chains: a gradient traced back to the loss, factor by factor, or rule within rule."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from torch import Tensor

from thalweg.sheet._graph import Graph, Local, Node
from thalweg.sheet._numbers import DIGITS, held, number
from thalweg.symbolic import Label

MAX_PATHS = 6
MAX_LETTERS = 300
"""What is longer than a line or two teaches nothing; the table has it step by step."""


@dataclass(frozen=True)
class Way:
    """One way from a quantity to the loss.

    Args:
        factors: the operations on it, from the loss back to the quantity.
    """

    factors: tuple[tuple[Node, Local], ...]

    @property
    def gains(self) -> tuple[float, ...]:
        """By how much each operation multiplied the length of the gradient on its way back."""
        return tuple(_gain(node.gradient, local.gradient) for node, local in self.factors)


def ways(graph: Graph, name: str, at_most: int = MAX_PATHS) -> tuple[Way, ...] | None:
    """All ways from a quantity to the loss, None where there are more than so many."""
    found: list[Way] = []
    waiting: list[tuple[str, tuple[tuple[Node, Local], ...]]] = [(name, ())]
    num_steps = 0
    while waiting:
        at, factors = waiting.pop()
        num_steps += 1
        if len(found) > at_most or num_steps > 50 * at_most:
            return None
        if at == graph.loss:
            found.append(Way(tuple(reversed(factors))))
            continue
        for node, local in graph.users(at):
            waiting.append((node.name, (*factors, (node, local))))
    return tuple(reversed(found)) if len(found) <= at_most else None


def main_way(graph: Graph, name: str) -> Way:
    """The way on which most of the gradient comes back, followed greedily from the quantity."""
    factors: list[tuple[Node, Local]] = []
    at = name
    while at != graph.loss and graph.users(at):
        node, local = max(graph.users(at), key=lambda user: float(user[1].gradient.norm()))
        factors.append((node, local))
        at = node.name
    return Way(tuple(reversed(factors)))


def chain_of(graph: Graph, name: str, digits: int = DIGITS) -> tuple[Label, ...]:
    """The members of ∂L/∂q = … written out; empty where that would be too long.

    For numbers: the product of local derivatives, one summand a way, then their values. For vectors
    and matrices: the rules put into one another.
    """
    found = ways(graph, name)
    if not found:
        return ()
    nodes = [graph[name], *(node for way in found for node, _ in way.factors)]
    if all(node.value.ndim == 0 for node in nodes) and graph[name].value.ndim == 0:
        members = _of_numbers(found, digits)
    else:
        members = (_of_rules(graph, name),)
    return () if any(len(member.text) > MAX_LETTERS for member in members) else members


def _of_numbers(found: tuple[Way, ...], digits: int) -> tuple[Label, ...]:
    symbols = [[_derivative(node, local) for node, local in way.factors] for way in found]
    values = [[held(number(float(local.value), digits)) for _, local in w.factors] for w in found]
    members = [_sum_of_products(symbols), _sum_of_products(values)]
    if len(found) > 1:
        products = [prod(float(local.value) for _, local in way.factors) for way in found]
        members.append(_sum_of_products([[held(number(p, digits))] for p in products]))
    return tuple(members)


def _derivative(node: Node, local: Local) -> Label:
    towards = Label.of_name(local.towards)
    return Label(
        f"∂{node.label.text}/∂{towards.text}",
        f"\\frac{{\\partial {node.label.latex}}}{{\\partial {towards.latex}}}",
    )


def _sum_of_products(products: list[list[Label]]) -> Label:
    return Label(
        " + ".join(" · ".join(factor.text for factor in factors) for factors in products),
        " + ".join(r" \cdot ".join(factor.latex for factor in factors) for factors in products),
    )


def _of_rules(graph: Graph, name: str) -> Label:
    """Rule within rule, from the loss backward; each node's once, so that it stays short."""
    done: dict[str, Label] = {graph.loss: Label("", "")}
    needed = {name}
    waiting = [name]
    while waiting:
        for node, _ in graph.users(waiting.pop()):
            if node.name not in needed:
                needed.add(node.name)
                waiting.append(node.name)
    for node in reversed(graph.nodes):
        if node.name not in needed or node.name == graph.loss:
            continue
        parts = [_within(local.pattern, done[user.name]) for user, local in graph.users(node.name)]
        done[node.name] = Label(
            " + ".join(part.text for part in parts), " + ".join(part.latex for part in parts)
        )
        if len(done[node.name].text) > 2 * MAX_LETTERS:
            return done[node.name]
    return done[name]


def _within(pattern: Label, delta: Label) -> Label:
    """A rule with what δ is put into its place; of the loss itself that is 1."""
    if not delta.text:
        text = pattern.text.removeprefix("$d ⊙ ").removeprefix("$d · ")
        latex = pattern.latex.removeprefix("$d \\odot ").removeprefix("$d \\cdot ")
        return Label(text, latex).filled(d=Label("1", "1"))
    if pattern.text == "$d":
        return delta
    is_word = " " not in delta.text
    inner = delta if is_word else Label(f"({delta.text})", f"\\left({delta.latex}\\right)")
    return pattern.filled(d=inner)


def _gain(before: Tensor, after: Tensor) -> float:
    length = float(before.norm())
    return float(after.norm()) / length if length else 0.0
