"""The pictures of a flow, each with the sentence that says what to see."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from thalweg.gradient_flow._result import Flow
from thalweg.report import Figure, Ink, line

_INKS = (Ink.VERMILION, Ink.GREEN, Ink.PURPLE, Ink.ORANGE)
_TIME = "flow time [param²/loss]"

MOST_POINTS = 400
"""Of one curve."""

BLOWN_UP = 10.0
"""So many times the loss at the start, a discrete method leaves the picture."""


def loss_figure(flow: Flow) -> Figure:
    """Loss by flow time, methods with a step over it."""
    first = flow.readings[0].value
    top = first + (BLOWN_UP - 1) * max(abs(first), abs(first - flow.value))
    data = [
        _line(
            [r.time for r in flow.readings], [r.value for r in flow.readings], "gradient flow",
            Ink.BLUE,
        )
    ]  # fmt: skip
    for number, path in enumerate(flow.discrete):
        inside = [value if value <= top else float("nan") for value in path.values]
        ink = _INKS[number % len(_INKS)]
        data.append(_line(path.times, inside, path.said, ink, is_dashed=True))
    over = " Methods with a step are drawn at the time that their steps stand for."
    caption = "The loss that gradient flow has at each time." + (over if flow.discrete else "")
    return Figure(data, _axes(data, "loss"), caption, "loss by flow time")


def distance_figure(flow: Flow) -> Figure | None:
    """How far methods with a step are from the flow."""
    data = []
    for number, path in enumerate(flow.discrete):
        rows = [row for row in zip(path.compared, path.distances, strict=True) if min(row) > 0]
        if rows:
            times, distances = zip(*rows, strict=True)
            ink = _INKS[number % len(_INKS)]
            data.append(_line(times, distances, path.said, ink, is_dashed=True))
    if not data:
        return None
    path_length = [(r.time, r.distance) for r in flow.readings if r.time > 0]
    data.insert(
        0,
        _line([t for t, _ in path_length], [d for _, d in path_length], "flow from its start",
              Ink.BLUE),
    )  # fmt: skip
    caption = (
        "How far each method is from the flow at the same time, and how far the flow has come from "
        "its start. A step that is too long for the sharpest direction leaves the flow."
    )
    return Figure(data, _axes(data, "distance [param]"), caption, "distances by flow time")


def sharpness_figure(flow: Flow) -> Figure | None:
    """λ_max along the flow, and the limits of methods with a step."""
    if len(flow.sharpness) < 2:
        return None
    times = [reading.time for reading in flow.sharpness]
    values = [reading.value for reading in flow.sharpness]
    data = [_line(times, values, "λ_max", Ink.BLUE)]
    positive = [time for time in times if time > 0]
    ends = [min(positive), max(positive)]
    for number, path in enumerate(flow.discrete):
        if path.limit is not None:
            name = f"limit of {path.said}"
            ink = _INKS[number % len(_INKS)]
            data.append(_line(ends, [path.limit] * 2, name, ink, is_dashed=True))
    limit = " Above a dashed line that method is unstable." if len(data) > 1 else ""
    caption = f"The sharpness λ_max of the Hessian along the flow.{limit}"
    return Figure(data, _axes(data, "λ_max [loss/param²]"), caption, "sharpness by flow time")


def energy_figure(flow: Flow) -> Figure:
    """The two sides of the energy identity, and what they differ by."""
    first = flow.readings[0].value
    rows = [(r.time, first - r.value, r.energy) for r in flow.readings if r.time > 0]
    times = [row[0] for row in rows]
    data = [
        _line(times, [row[1] for row in rows], "L(0) − L(t)", Ink.BLUE),
        _line(times, [row[2] for row in rows], "∫‖∇L‖²", Ink.VERMILION, is_dashed=True),
        _line(
            times, [abs(row[1] - row[2]) or float("nan") for row in rows], "difference", Ink.GREY
        ),
    ]
    caption = "What the loss has fallen by, and what the gradient says that it must have."
    return Figure(data, _axes(data, "[loss]"), caption, "energy identity by flow time")


def _line(
    times: Sequence[float],
    values: Sequence[float],
    name: str,
    ink: Ink,
    *,
    is_dashed: bool = False,
) -> dict[str, Any]:
    stride = max(1, len(times) // MOST_POINTS)
    # On a logarithmic axis there is no time 0.
    kept = [i for i in (*range(0, len(times) - 1, stride), len(times) - 1) if times[i] > 0]
    return line(
        [times[i] for i in kept],
        [values[i] for i in kept],
        name=name,
        ink=ink,
        is_dashed=is_dashed,
        has_markers=len(kept) < 2,
    )


def _axes(data: Sequence[dict[str, Any]], y: str) -> dict[str, Any]:
    """Logarithmic in time; logarithmic in y where everything is positive."""
    values = [value for trace in data for value in trace["y"] if isfinite(value)]
    is_log = bool(values) and min(values) > 0
    vertical = {"type": "log", "exponentformat": "power"} if is_log else {}
    return {
        "xaxis": {"title": {"text": _TIME}, "type": "log", "exponentformat": "power"},
        "yaxis": {"title": {"text": y}, **vertical},
    }
