"""The pictures of a signal, each with the sentence that says what to see."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, log
from typing import Any

from thalweg.report import Figure, Ink, band, line
from thalweg.signal._depth import Signal
from thalweg.signal._edge import Edge
from thalweg.signal._time import TimeSignal

_NORMAL_95 = 1.96


def gradient_figure(signal: Signal) -> Figure:
    """Gradient norm by layer, measured and predicted."""
    names = [row.name for row in signal.rows]
    norms = [row.gradient_norm for row in signal.rows]
    data = [line(names, norms, name="measured", has_markers=True)]
    caption = "The norm of the loss's gradient by each layer's output, from input to output."
    predicted = [row.predicted_gradient_norm for row in signal.rows]
    if None not in predicted:
        doubts = [row.predicted_gradient_log_stderr for row in signal.rows]
        data = [*_predicted(names, predicted, doubts), *data]
        caption += (
            " The dashed line is what mean-field theory predicts from the weights' variances and "
            "the activation alone, starting at the last layer; the band holds 95 % of draws of a "
            "network of this width."
        )
    if signal.gradient:
        caption += (
            f" Each layer towards the input multiplies it by {signal.gradient.factor:.3g} "
            f"(95 % between {signal.gradient.low:.3g} and {signal.gradient.high:.3g})."
        )
    alt = f"Gradient norm from {norms[0]:.2g} at the first layer to {norms[-1]:.2g} at the last"
    return Figure(
        data,
        _by_layer("‖∂L/∂z‖ [loss/output]", {"type": "log", "exponentformat": "power"}),
        caption,
        alt,
    )


def ratio_figure(signal: Signal) -> Figure | None:
    """By how much each layer changes the gradient, measured beside predicted; None without both."""
    rows = [row for row in signal.rows if row.gradient_ratio and row.predicted_gradient_ratio]
    if not rows:
        return None
    names = [row.name for row in rows]
    measured = [row.gradient_ratio or 0.0 for row in rows]
    predicted = [row.predicted_gradient_ratio for row in rows]
    doubts = [_share(row.predicted_ratio_stderr, row.predicted_gradient_ratio) for row in rows]
    data = [
        *_predicted(names, predicted, doubts),
        line(names, measured, name="measured", has_markers=True),
    ]
    caption = (
        "‖∂L/∂z‖ of a layer over that of the next: below 1 gradients shrink towards the input. "
        "Dashed: √χ of mean-field theory, with the band that 95 % of draws of this width keep to; "
        "many inputs average part of that out."
    )
    alt = f"Gradient ratio by layer, from {measured[0]:.3g} to {measured[-1]:.3g}"
    return Figure(
        data,
        _by_layer("ratio of ‖∂L/∂z‖ to the next layer's", {"rangemode": "tozero"}),
        caption,
        alt,
    )


def scale_figure(signal: Signal) -> Figure:
    """Activation scale by layer, measured and predicted."""
    names = [row.name for row in signal.rows]
    data = [line(names, [row.scale for row in signal.rows], name="measured", has_markers=True)]
    predicted = [row.predicted_scale for row in signal.rows]
    caption = "The root mean square of each layer's output, before its activation."
    if None not in predicted:
        doubts = [row.predicted_scale_log_stderr for row in signal.rows]
        data = [*_predicted(names, predicted, doubts), *data]
        caption += " Dashed: mean-field theory, with the band of 95 % of draws of this width."
    layout = _by_layer("root mean square of z", {"rangemode": "tozero"})
    return Figure(data, layout, caption, "Activation scale by layer")


def units_figure(signal: Signal) -> Figure:
    """Saturated and dead units by layer."""
    rows = [row for row in signal.rows if row.activation]
    names = [row.name for row in rows]
    data = [
        _bars(
            "slope under 1 % of its maximum", names, [100 * row.saturated for row in rows], Ink.BLUE
        ),
        _bars("units so on every sample", names, [100 * row.dead for row in rows], Ink.VERMILION),
    ]
    caption = "How much of each layer's activation passes hardly any gradient."
    layout = _by_layer("share (%)", {"range": [0, 100]})
    return Figure(data, layout, caption, "Saturated and dead units by layer")


def time_figure(signal: TimeSignal) -> Figure:
    """Gradient norm by step of a recurrent layer."""
    steps = [step.step for step in signal.steps]
    norms = [step.gradient_norm for step in signal.steps]
    caption = f"The norm of the loss's gradient by the state of {signal.name!r}, step by step."
    layout = _axes("step in time", "‖∂L/∂h‖", {"type": "log", "exponentformat": "power"})
    alt = f"Gradient norm from {norms[0]:.2g} at the first step to {norms[-1]:.2g} at the last"
    return Figure([line(steps, norms, name="measured", has_markers=True)], layout, caption, alt)


def edge_figure(signal: Signal, edges: Sequence[Edge]) -> Figure:
    """The critical line, with the layers of the network beside it."""
    rows = [row for row in signal.rows[1:] if row.weight_variance is not None]
    data = [
        line(
            [edge.bias_variance for edge in edges], [edge.weight_variance for edge in edges],
            name="critical line, χ = 1", ink=Ink.PREDICTED, is_dashed=True,
        ),
        {
            "type": "scatter", "mode": "markers", "name": "layers",
            "x": [row.bias_variance for row in rows], "y": [row.weight_variance for row in rows],
            "marker": {"color": Ink.MEASURED.value, "size": 8},
            "customdata": [row.name for row in rows],
            "hovertemplate": "%{customdata}: σ_b² = %{x:.3g}, σ_w² = %{y:.3g}<extra></extra>",
        },
    ]  # fmt: skip
    caption = (
        "Weight and bias variances of the layers after the first, and the line where gradients "
        "keep their size. Below it they vanish, above it they explode."
    )
    alt = "Phase diagram: the critical line and the layers of this network"
    layout = _axes("bias variance σ_b²", "weight variance σ_w²", {"rangemode": "tozero"})
    return Figure(data, layout, caption, alt)


def _predicted(
    x: Sequence[Any], y: Sequence[float | None], doubts: Sequence[float | None]
) -> list[dict[str, Any]]:
    """The line of theory in the band of its doubt, which is one of logarithms."""
    name = "mean-field theory"
    ends = [
        (log(at) - _NORMAL_95 * doubt, log(at) + _NORMAL_95 * doubt)
        for at, doubt in zip(y, doubts, strict=True)
        if at and at > 0 and doubt is not None
    ]
    middle = line(x, y, name=name, ink=Ink.PREDICTED, is_dashed=True)
    if len(ends) < len(y):
        return [middle]
    low, high = ([exp(min(end[side], 700)) for end in ends] for side in (0, 1))
    return [band(x, low, high, name=name, ink=Ink.PREDICTED), middle]


def _share(part: float | None, whole: float | None) -> float | None:
    return None if part is None or not whole else part / whole


def _bars(name: str, x: Sequence[str], y: Sequence[float], ink: Ink) -> dict[str, Any]:
    return {"type": "bar", "name": name, "x": list(x), "y": list(y), "marker": {"color": ink.value}}


def _by_layer(y: str, extra: dict[str, Any]) -> dict[str, Any]:
    layout = _axes("layer", y, extra)
    layout["xaxis"] |= {"type": "category"}
    return layout


def _axes(x: str, y: str, extra: dict[str, Any]) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, **extra}}
