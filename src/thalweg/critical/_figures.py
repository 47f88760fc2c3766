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

# Of several searches each has a colour, and a symbol for those who see no colours.
_SEARCHES = (
    (Ink.BLUE, "circle"),
    (Ink.ORANGE, "square"),
    (Ink.GREEN, "diamond"),
    (Ink.PURPLE, "cross"),
)


def index_figure(searches: Sequence[CriticalSearch]) -> Figure:
    """Share of negative eigenvalues against the loss; a status is told by its symbol.

    Of one search a status has its own colour; of several a search has.
    """
    data: list[dict[str, Any]] = []
    for number, search in enumerate(searches):
        for status, (ink, symbol) in _MARKS.items():
            points = [point for point in search.points if point.status is status]
            if not points:
                continue
            name = status.value
            if len(searches) > 1:
                name = f"{search.title}: {name}"
                ink, own = _SEARCHES[number % len(_SEARCHES)]
                symbol = own if status is Status.CERTIFIED else symbol
            data.append(_points(points, name, ink, symbol))
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


_DECADES = 8


def spectra_figure(points: Sequence[tuple[str, FoundPoint]]) -> Figure | None:
    """Histograms of the eigenvalues of a few points, each with its name, None if none is known.

    Most eigenvalues of a network are thousands of times smaller than the largest one. The axis is
    therefore log|λ|/max|λ| to both sides of zero, four bins a decade over eight decades; the bin in
    the middle holds those below 1e-8 max|λ|, which count as null.
    """
    data: list[dict[str, Any]] = []
    edges = torch.linspace(-_DECADES - 0.125, _DECADES + 0.125, 8 * _DECADES + 2).double()
    middles = ((edges[1:] + edges[:-1]) / 2).tolist()
    inks = (Ink.BLUE, Ink.GREY, Ink.VERMILION)
    for (name, point), ink in zip(points, inks, strict=False):
        values = point.inertia.eigenvalues
        if values is None or not len(values):
            continue
        sizes = values.abs() / values.abs().max().clamp(min=1e-300)
        places = values.sign() * (sizes.clamp(min=1e-300).log10() + _DECADES).clamp(min=0)
        counts = torch.histogram(places, edges).hist
        data.append(
            {
                "type": "scatter", "mode": "lines", "name": name, "x": middles,
                "y": (100 * counts / len(values)).tolist(),
                "line": {"color": ink.value, "width": 2, "shape": "hvh"},
            }
        )  # fmt: skip
    if not data:
        return None
    ticks = [k for k in range(-_DECADES, _DECADES + 1) if k % 2 == 0]
    layout: dict[str, Any] = {
        "xaxis": {
            "title": {"text": "λ / max|λ|"}, "tickvals": ticks,
            "ticktext": [_power(k) for k in ticks], "zeroline": True,
        },
        "yaxis": {"title": {"text": "eigenvalues (% of n)"}, "rangemode": "tozero"},
    }  # fmt: skip
    caption = (
        "Histograms of the Hessian's eigenvalues, on a logarithmic axis to both sides of zero. The "
        "higher the loss, the more of them lie left of zero; the bin in the middle holds those "
        "below 1e-8 of the largest."
    )
    return Figure(data, layout, caption, "Histograms of eigenvalues at low, middle and high loss")


def _power(place: int) -> str:
    if place == 0:
        return "0"
    exponent = _DECADES - abs(place)
    size = f"10<sup>−{exponent}</sup>" if exponent else "1"
    return f"−{size}" if place < 0 else size


def low_middle_high(points: Sequence[FoundPoint]) -> list[tuple[str, FoundPoint]]:
    """The certified points of least, middle and greatest loss, or of all if none is certified."""
    certified = [point for point in points if point.is_certified]
    ranked = sorted(certified or points, key=lambda point: point.data_loss)
    if not ranked:
        return []
    places = sorted({0, len(ranked) // 2, len(ranked) - 1})
    return [(f"loss {ranked[i].data_loss:.4g}, index {ranked[i].index}", ranked[i]) for i in places]
