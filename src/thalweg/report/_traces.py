"""The two traces that most figures are made of: a line, and the band of its doubt."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from thalweg.report._ink import Ink


def line(
    x: Iterable[Any],
    y: Iterable[Any],
    *,
    name: str,
    ink: Ink = Ink.MEASURED,
    is_dashed: bool = False,
    has_markers: bool = False,
) -> dict[str, Any]:
    """A line, dashed where it is predicted or assumed rather than measured.

    Args:
        x: where.
        y: what; NaN and infinity leave a gap.
        name: in the legend.
        ink: its colour.
        is_dashed: tells lines apart without colour.
        has_markers: a dot at each point.

    Returns:
        A Plotly trace.

    Example:
        >>> line([1, 2], [0.5, 0.25], name="predicted", ink=Ink.PREDICTED, is_dashed=True)["mode"]
        'lines'
    """
    return {
        "type": "scatter",
        "x": list(x),
        "y": list(y),
        "name": name,
        "legendgroup": name,
        "mode": "lines+markers" if has_markers else "lines",
        "line": {"color": ink.value, "width": 2, "dash": "dash" if is_dashed else "solid"},
        "marker": {"color": ink.value, "size": 7},
    }


def band(
    x: Iterable[Any],
    low: Iterable[Any],
    high: Iterable[Any],
    *,
    name: str,
    ink: Ink = Ink.MEASURED,
) -> dict[str, Any]:
    """The area between two curves, of the same colour as the line that runs through it.

    Args:
        x: where.
        low: lower edge.
        high: upper edge.
        name: of the line it belongs to; clicking that in the legend hides both.
        ink: its colour, shown faint.

    Returns:
        A Plotly trace; put it before its line.

    Example:
        >>> band([1, 2], [0.4, 0.2], [0.6, 0.3], name="measured")["y"]
        [0.4, 0.2, 0.3, 0.6]
    """
    places = list(x)
    return {
        "type": "scatter",
        "x": places + places[::-1],
        "y": list(low) + list(high)[::-1],
        "name": name,
        "legendgroup": name,
        "showlegend": False,
        "mode": "lines",
        "line": {"width": 0, "color": ink.faint},
        "fill": "toself",
        "fillcolor": ink.faint,
        "hoverinfo": "skip",
    }
