"""The pictures of a search: index against loss, and spectra at low, middle and high loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from thalweg.critical._found_point import FoundPoint, Status
from thalweg.critical._search import CriticalSearch
from thalweg.report import Figure, Ink

_MARKS = {
    Status.CERTIFIED: (Ink.BLUE, "circle"),
    Status.FLAT: (Ink.VERMILION, "triangle-up-open"),
    Status.UNFINISHED: (Ink.GREY, "x"),
}

SYMBOLS = ("circle", "square", "diamond", "cross", "star")


def index_figure(searches: Sequence[CriticalSearch]) -> Figure:
    """Share of negative eigenvalues against the loss; one symbol a search, one colour a status."""
    data: list[dict[str, Any]] = []
    for number, search in enumerate(searches):
        for status, (ink, symbol) in _MARKS.items():
            points = [point for point in search.points if point.status is status]
            if not points:
                continue
            name = status.value if len(searches) == 1 else f"{search.title}: {status.value}"
            shape = symbol if status is not Status.CERTIFIED else SYMBOLS[number % len(SYMBOLS)]
            data.append(_points(points, name, ink, shape))
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "loss on the data"}},
        "yaxis": {"title": {"text": "negative eigenvalues (% of n)"}, "rangemode": "tozero"},
    }
    caption = (
        "Each mark is the end of a walk. Certified ones are critical points of a certain index; "
        "flat ones have a small gradient and no critical point near; unfinished ones are not known "
        "to be either. The bars reach over the indices that are not excluded."
    )
    return Figure(data, layout, caption, "Index against loss of all points found", 400)


def _points(points: Sequence[FoundPoint], name: str, ink: Ink, symbol: str) -> dict[str, Any]:
    n = [len(point.params) for point in points]
    shares = [100 * point.index_share for point in points]
    ends = [point.inertia.interval for point in points]
    trace: dict[str, Any] = {
        "type": "scatter", "mode": "markers", "name": name,
        "x": [point.data_loss for point in points], "y": shares,
        "marker": {"color": ink.value, "symbol": symbol, "size": 8},
        "error_y": {
            "type": "data", "symmetric": False, "color": ink.value, "thickness": 1, "width": 0,
            "array": [
                max(100 * high / m - s, 0.0)
                for (_, high), m, s in zip(ends, n, shares, strict=True)
            ],
            "arrayminus": [
                max(s - 100 * low / m, 0.0) for (low, _), m, s in zip(ends, n, shares, strict=True)
            ],
        },
        "customdata": [[point.number, point.index, point.gradient_square] for point in points],
        "hovertemplate": "walk %{customdata[0]}: loss %{x:.5g}, index %{customdata[1]}, "
        "|∇L|² %{customdata[2]:.1e}<extra></extra>",
    }  # fmt: skip
    return trace


def spectra_figure(points: Sequence[tuple[str, FoundPoint]]) -> Figure | None:
    """Histograms of the eigenvalues, over max|λ|, of a few points; each with its name."""
    data: list[dict[str, Any]] = []
    edges = torch.linspace(-1, 1, 82, dtype=torch.float64)
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    inks = (Ink.BLUE, Ink.ORANGE, Ink.VERMILION)
    for (name, point), ink in zip(points, inks, strict=False):
        values = point.inertia.eigenvalues
        if values is None or not len(values):
            continue
        scaled = values / values.abs().max().clamp(min=1e-300)
        counts = torch.histogram(scaled, edges).hist
        # Of a logarithm an empty bin is a gap.
        heights = [c if c > 0 else float("nan") for c in (counts / len(values)).tolist()]
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": middles, "y": heights,
                "line": {"color": ink.value, "width": 2, "shape": "hvh"}, "connectgaps": False,
            }
        )  # fmt: skip
    if not data:
        return None
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "λ / max|λ|"}},
        "yaxis": {"title": {"text": "share of eigenvalues"}, "type": "log"},
    }
    caption = (
        "Histograms of the Hessian's eigenvalues. The higher the loss, the more of them lie left "
        "of zero; the bin in the middle holds the null ones."
    )
    return Figure(data, layout, caption, "Histograms of eigenvalues at low, middle and high loss")


def low_middle_high(points: Sequence[FoundPoint]) -> list[tuple[str, FoundPoint]]:
    """The certified points of least, middle and greatest loss, or of all if none is certified."""
    certified = [point for point in points if point.is_certified]
    ranked = sorted(certified or points, key=lambda point: point.data_loss)
    if not ranked:
        return []
    places = sorted({0, len(ranked) // 2, len(ranked) - 1})
    return [(f"loss {ranked[i].data_loss:.4g}, index {ranked[i].index}", ranked[i]) for i in places]
