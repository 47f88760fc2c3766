"""The graph drawn: what goes into what, from what is given above to the loss below."""

from __future__ import annotations

from typing import Any

from thalweg.report import Figure, Ink
from thalweg.sheet._graph import Graph, Node
from thalweg.sheet._numbers import number

MAX_DRAWN = 60
"""Nodes of a picture that can still be read."""

_DIGITS = 4
_ROW = 78
"""CSS pixels from one layer to the next."""


def drawing_of(graph: Graph) -> Figure | None:
    """A figure, None where there is too much to draw."""
    drawn = [node for node in graph.nodes if not node.is_constant]
    if len(drawn) > MAX_DRAWN:
        return None
    layers = _layers(graph, drawn)
    places = _places(layers, graph)
    known = {node.name: node for node in drawn}
    edges = [(known[l.towards], node) for node in drawn for l in node.locals]  # noqa: E741
    data: list[dict[str, Any]] = [_edges(edges, places), _marks(drawn, places)]
    height = _ROW * len(layers)
    widest = max(len(layer) for layer in layers)
    layout: dict[str, Any] = {
        "xaxis": {"visible": False, "range": [-0.5, widest - 0.5], "fixedrange": True},
        "yaxis": {"visible": False, "range": [len(layers) - 0.4, -0.6], "fixedrange": True},
        "annotations": [_box(node, places[node.name], widest) for node in drawn],
        "showlegend": False,
    }
    caption = (
        "From what is given down to the loss: each quantity with its value and, after ∂, the "
        "gradient of the loss towards it; of vectors and matrices the size and ‖norm‖."
    )
    alt = "; ".join(f"{n.label.text} = {n.formula.text}" for n in drawn)
    return Figure(data, layout, caption, f"Graph of the computation: {alt}", height)


def _layers(graph: Graph, drawn: list[Node]) -> list[list[Node]]:
    """Each node just above the first that uses it, so that edges are short."""
    depth: dict[str, int] = {}
    for node in graph.nodes:
        depth[node.name] = 1 + max((depth[name] for name in node.inputs), default=-1)
    last = max(depth[node.name] for node in drawn)
    for node in reversed(drawn):
        users = [depth[user.name] for user, _ in graph.users(node.name)]
        if node.is_given:
            depth[node.name] = min(users) - 1 if users else last
    low = min(depth[node.name] for node in drawn)
    layers: list[list[Node]] = [[] for _ in range(low, last + 1)]
    for node in drawn:
        layers[depth[node.name] - low].append(node)
    return [layer for layer in layers if layer]


def _places(layers: list[list[Node]], graph: Graph) -> dict[str, tuple[float, float]]:
    """Columns: each layer spread evenly, ordered by where its users stand."""
    widest = max(len(layer) for layer in layers)
    places: dict[str, tuple[float, float]] = {}
    for row in reversed(range(len(layers))):
        layer = layers[row]

        def key(node: Node) -> float:
            columns = [places[u.name][0] for u, _ in graph.users(node.name) if u.name in places]
            # What is computed stands left of what is given to the same operation.
            shift = 0.01 if node.is_given else 0.0
            return (sum(columns) / len(columns) if columns else 0.0) + shift

        for column, node in enumerate(sorted(layer, key=key)):
            places[node.name] = ((column + 0.5) * widest / len(layer) - 0.5, float(row))
    return places


def _edges(
    edges: list[tuple[Node, Node]], places: dict[str, tuple[float, float]]
) -> dict[str, Any]:
    x: list[float | None] = []
    y: list[float | None] = []
    for source, node in edges:
        (x0, y0), (x1, y1) = places[source.name], places[node.name]
        x += [x0, x1, None]
        y += [y0, y1, None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip",
        "line": {"color": Ink.GREY.value, "width": 1.5},
    }  # fmt: skip


def _marks(drawn: list[Node], places: dict[str, tuple[float, float]]) -> dict[str, Any]:
    """Points under the boxes, for what is said when one is pointed at."""
    return {
        "type": "scatter", "mode": "markers",
        "x": [places[node.name][0] for node in drawn],
        "y": [places[node.name][1] for node in drawn],
        "marker": {"size": 26, "color": Ink.GREY.value, "opacity": 0},
        "customdata": [f"{node.label.text} = {node.formula.text}" for node in drawn],
        "hovertemplate": "%{customdata}<extra></extra>",
    }  # fmt: skip


def _box(node: Node, place: tuple[float, float], widest: int) -> dict[str, Any]:
    ink = Ink.GREEN if node.is_given else Ink.BLUE
    name = node.label.text if node.is_given or widest > 4 else _short(node)
    return {
        "x": place[0], "y": place[1], "showarrow": False, "align": "center",
        "text": f"<b>{name}</b><br>{_value(node)}"
        + (f"<br>∂ {_gradient(node)}" if node.takes_gradient else ""),
        "bgcolor": "var(--page)", "bordercolor": ink.value, "borderwidth": 1.5, "borderpad": 3,
        "font": {"size": 11, "color": Ink.TEXT.value},
    }  # fmt: skip


def _short(node: Node) -> str:
    said = f"{node.label.text} = {node.formula.text}"
    return said if len(said) <= 16 else node.label.text


def _value(node: Node) -> str:
    if node.value.ndim == 0:
        return number(float(node.value), _DIGITS).text
    return "×".join(map(str, node.value.shape)) + f" ‖{number(float(node.value.norm()), 3).text}‖"


def _gradient(node: Node) -> str:
    if node.gradient.ndim == 0:
        return number(float(node.gradient), 3).text
    return f"‖{number(float(node.gradient.norm()), 3).text}‖"
