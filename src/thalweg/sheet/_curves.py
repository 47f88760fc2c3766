"""Activations and their slopes as curves, with the points where this pass stands on them."""

from __future__ import annotations

from typing import Any

import torch

from thalweg.report import Figure, Ink, line
from thalweg.sheet._elementwise import (
    COS,
    ELU,
    GELU,
    LEAKY_RELU,
    RELU,
    SIGMOID,
    SILU,
    SIN,
    SOFTPLUS,
    TANH,
    Elementwise,
)
from thalweg.sheet._graph import Graph, Node
from thalweg.sheet._numbers import number

_DRAWN: dict[str, Elementwise] = {
    f.title: f for f in (SIGMOID, TANH, RELU, LEAKY_RELU, ELU, SOFTPLUS, SILU, GELU, SIN, COS)
}
_NUM_POINTS = 241
_REACH = 6.0
_MAX_NAMED = 12


def curves_of(graph: Graph) -> tuple[Figure, ...]:
    """A figure for each activation that the pass uses."""
    used: dict[tuple[str, float | None], list[Node]] = {}
    for node in graph.nodes:
        if node.operation in _DRAWN:
            used.setdefault((node.operation, _slope(graph, node)), []).append(node)
    return tuple(
        _figure(graph, _DRAWN[title], slope, nodes) for (title, slope), nodes in used.items()
    )


def _slope(graph: Graph, node: Node) -> float | None:
    """The second argument of leaky ReLU and ELU."""
    return float(graph[node.inputs[1]].value) if len(node.inputs) > 1 else None


def _figure(graph: Graph, function: Elementwise, slope: float | None, nodes: list[Node]) -> Figure:
    at = torch.cat([graph[node.inputs[0]].value.reshape(-1) for node in nodes])
    low, high = min(-_REACH, float(at.min()) - 1), max(_REACH, float(at.max()) + 1)
    grid = torch.linspace(low, high, _NUM_POINTS, dtype=torch.float64)
    extra = () if slope is None else (torch.tensor(slope, dtype=torch.float64),)
    y = function.value(grid, *extra)
    rise = function.local(0, (grid, *extra), y).expand(grid.shape)
    values = function.value(at, *extra)
    slopes = function.local(0, (at, *extra), values).expand(at.shape)
    names = _names(graph, nodes)
    name = function.title
    data: list[dict[str, Any]] = [
        line(grid.tolist(), y.tolist(), name=name),
        line(grid.tolist(), rise.tolist(), name="slope", ink=Ink.ORANGE, is_dashed=True),
        _points(at.tolist(), values.tolist(), names, "where it stands", Ink.BLUE),
        _points(at.tolist(), slopes.tolist(), names, "its slope there", Ink.ORANGE),
    ]
    shown = [
        f"{n} at {number(a, 4).text}: value {number(v, 4).text}, slope {number(s, 4).text}"
        for n, a, v, s in zip(names, at.tolist(), values.tolist(), slopes.tolist(), strict=True)
    ]
    said = "; ".join(shown[:_MAX_NAMED]) + ("; …" if len(shown) > _MAX_NAMED else "")
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "what goes in"}},
        "yaxis": {"title": {"text": "value and slope"}},
    }
    return Figure(
        data, layout, f"{name} and its slope: {said}.", f"{name} and its slope, {said}", 300
    )


def _names(graph: Graph, nodes: list[Node]) -> list[str]:
    names = []
    for node in nodes:
        size = graph[node.inputs[0]].value.numel()
        names += [
            node.label.text if size == 1 else f"{node.label.text}[{i + 1}]" for i in range(size)
        ]
    return names


def _points(
    x: list[float], y: list[float], names: list[str], name: str, ink: Ink
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers", "x": x, "y": y, "name": name, "customdata": names,
        "marker": {"color": ink.value, "size": 9, "symbol": "circle"},
        "hovertemplate": "%{customdata}: %{x:.5g} → %{y:.5g}<extra></extra>",
    }  # fmt: skip
