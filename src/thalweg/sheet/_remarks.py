"""Remarks: what made the smallest gradient small, what another activation would have given."""

from __future__ import annotations

from dataclasses import dataclass
from math import log10

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._progress import Progress
from thalweg.sheet._chain import main_way
from thalweg.sheet._draft import Draft
from thalweg.sheet._elementwise import RELU, SIGMOID, TANH
from thalweg.sheet._graph import Graph, Local, Node
from thalweg.sheet._numbers import number
from thalweg.symbolic import Label

DATA = frozenset({"x", "X", "y", "Y", "t", "target", "label", "input"})
"""Names of what is given and not learnt."""

TRIED = (SIGMOID, TANH, RELU)
"""Activations that are put in one another's places."""

SMALL = 0.3
"""A factor below this makes a gradient small, one above its inverse large."""

FLAT = 0.1
"""A slope of an activation below this is said to be flat."""

_DIGITS = 4


@dataclass(frozen=True)
class Alternative:
    """The same computation with another activation, run again and proved again.

    Args:
        activation: put in the place of every sigmoid, tanh and ReLU.
        loss: L then.
        gradients: ∂L/∂q of what is learnt, by name.
    """

    activation: str
    loss: float
    gradients: dict[str, Tensor]


def learnt(graph: Graph) -> tuple[Node, ...]:
    """What is given and not data; all that is given where that leaves nothing."""
    given = tuple(node for node in graph.nodes if node.is_given)
    found = tuple(n for n in given if n.name.split("_")[0] not in DATA and not n.is_data)
    return found or tuple(n for n in given if not n.is_whole)


def alternatives_of(
    draft: Draft, loss: int, graph: Graph, progress: Progress
) -> tuple[Alternative, ...]:
    """The runs with each other activation that the values allow."""
    used = {step.operation for step in draft.steps if step.operation in TRIED}
    found = []
    for i, activation in enumerate(TRIED):
        if not used or used == {activation}:
            continue
        progress(f"the same with {activation.title}", 0.3 + 0.7 * i / len(TRIED))
        try:
            other = draft.replayed(lambda o, a=activation: a if o in TRIED else o).finished(loss)  # type: ignore[misc]
        except ThalwegError:
            continue
        gradients = {node.name: other[node.name].gradient for node in learnt(graph)}
        found.append(Alternative(activation.title, float(other[other.loss].value), gradients))
    return tuple(found)


def remarks_of(graph: Graph, others: tuple[Alternative, ...]) -> tuple[Label, ...]:
    """Sentences, each in text and in LaTeX."""
    node = _smallest(graph)
    said = [] if node is None else [_on_gradient(graph, node)]
    if node is not None:
        said += [_on_alternative(graph, node, other) for other in others[-1:]]
    said += [_sentence([n.label, f" = {n.formula.text}: {n.note}."], n) for n in _kinks(graph)]
    said += [_on_digits(*found) for found in _rounded(graph)]
    return tuple(said)


def _smallest(graph: Graph) -> Node | None:
    """What is learnt, enters the loss, and has the smallest gradient for its size."""
    entering = [node for node in learnt(graph) if graph.users(node.name)]
    if not entering:
        return None
    return min(entering, key=lambda n: float(n.gradient.norm()) / max(n.gradient.numel(), 1) ** 0.5)


def _on_gradient(graph: Graph, node: Node) -> Label:
    way = main_way(graph, node.name)
    symbol, size = _of_loss(graph, node), _size(node.gradient)
    pairs = list(zip(way.factors, way.gains, strict=True))
    if not float(node.gradient.norm()):
        zero = next((f for f, _ in pairs if not float(f[1].gradient.norm())), None)
        if zero is None:
            return _join(symbol, " is zero: the ways to the loss cancel.")
        return _join(symbol, " is zero, since ", *_factor(graph, *zero), ".")
    factors = [(factor, gain) for factor, gain in pairs if factor[1].formula.text != "1"]
    if not factors:
        return _join(symbol, " = ", size, ": it comes back unchanged.")
    (low, least), (high, most) = (min(factors, key=_gain), max(factors, key=_gain))
    is_small = least < SMALL and float(node.gradient.norm()) < FLAT
    if not is_small and most > 1 / SMALL:
        return _join(symbol, " = ", size, "; its largest factor is ", *_factor(graph, *high), ".")
    if is_small:
        return _join(symbol, " = ", size, " is small, since ", *_factor(graph, *low), ".")
    is_only = sum(bool(graph.users(n.name)) for n in learnt(graph)) == 1
    rank = "" if is_only else ", the smallest of the gradients"
    return _join(
        symbol, " = ", size, f"{rank}; its smallest factor is ",
        *_factor(graph, *low), ".",
    )  # fmt: skip


def _gain(pair: tuple[tuple[Node, Local], float]) -> float:
    return pair[1]


def _factor(graph: Graph, node: Node, local: Local) -> list[Label | str]:
    """A local derivative with its formula and value, and for an activation where it stands."""
    towards = Label.of_name(local.towards)
    symbol = Label(
        f"∂{node.label.text}/∂{towards.text}",
        f"$\\frac{{\\partial {node.label.latex}}}{{\\partial {towards.latex}}}$",
    )
    said: list[Label | str] = [symbol, " = ", _maths(local.formula)]
    if local.value.numel() == 1:
        if local.formula.text.strip("()") != number(float(local.value), _DIGITS).text:
            said += [" = ", _maths(number(float(local.value), _DIGITS))]
    else:
        spread = float(local.value.abs().max())
        said += [" has entries of at most ", _maths(number(spread, _DIGITS))]
    if node.operation in {a.title for a in TRIED} and float(local.value.abs().max()) < FLAT:
        where = "it is flat there" if node.operation != RELU.title else "ReLU is off there"
        said += [f": {where}, at ", _maths(towards), " = ", _value(graph[local.towards].value)]
    return said


def _on_alternative(graph: Graph, node: Node, other: Alternative) -> Label:
    loss = graph[graph.loss]
    return _join(
        f"With {other.activation} in the place of every activation: ",
        _maths(loss.label), " = ", _maths(number(other.loss, _DIGITS)), " instead of ",
        _value(loss.value), ", ", _of_loss(graph, node), " = ", _size(other.gradients[node.name]),
        " instead of ", _size(node.gradient), " (computed by running it again).",
    )  # fmt: skip


def _kinks(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.note]


def _rounded(graph: Graph) -> list[tuple[Node, int]]:
    """Where a slope such as h (1 − h) has lost digits to 1 − h, and how many it has kept."""
    found = []
    for node in graph.nodes:
        if node.operation not in (SIGMOID.title, TANH.title):
            continue
        gap = (1 - node.value.abs()).min()
        if float(gap) < 1e-5:
            eps = torch.finfo(torch.float64).eps
            kept = log10(float(gap) / eps) if float(gap) > eps else 0
            found.append((node, max(0, int(kept))))
    return found


def _on_digits(node: Node, kept: int) -> Label:
    left = f"about {kept} of its 16 digits" if kept else "none of its digits"
    return _join(
        _maths(node.label), " is so near 1 that 1 minus it keeps ", left,
        " in float64; gradients through it are no more exact than that.",
    )  # fmt: skip


def _of_loss(graph: Graph, node: Node) -> Label:
    loss = graph[graph.loss].label
    text = f"∂{loss.text}/∂{node.label.text}"
    latex = f"\\frac{{\\partial {loss.latex}}}{{\\partial {node.label.latex}}}"
    if node.gradient.ndim == 0:
        return Label(text, f"${latex}$")
    return Label(f"‖{text}‖", f"$\\left\\lVert {latex} \\right\\rVert$")


def _size(gradient: Tensor) -> Label:
    """A number, or the length of a vector."""
    size = gradient if gradient.ndim == 0 else gradient.norm()
    return _maths(number(float(size), _DIGITS))


def _value(value: Tensor) -> Label:
    if value.numel() == 1:
        return _maths(number(float(value), _DIGITS))
    low, high = number(float(value.min()), _DIGITS), number(float(value.max()), _DIGITS)
    return Label(f"{low.text} … {high.text}", f"${low.latex} \\dots {high.latex}$")


def _maths(label: Label) -> Label:
    return Label(label.text, f"${label.latex}$")


def _sentence(parts: list[Label | str], node: Node) -> Label:
    label = _join(*parts)
    return Label(label.text, f"${node.label.latex} = {node.formula.latex}$: {node.note}.")


def _join(*parts: Label | str) -> Label:
    return Label(
        "".join(p if isinstance(p, str) else p.text for p in parts),
        "".join(p if isinstance(p, str) else p.latex for p in parts),
    )
