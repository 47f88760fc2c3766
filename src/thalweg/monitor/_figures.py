"""The pictures of a training that was watched, all over the steps, with the alerts on them."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

from thalweg.monitor._record import Alert, Record
from thalweg.report import Figure, Ink, band, line

MOST_LAYERS = 8
"""Curves of one picture: the first and last layers, and some between."""

MOST_POINTS = 400
"""Of one curve; of more, every so many are shown."""

FEW_POINTS = 40
"""Each has a dot of its own."""

_INKS = (Ink.BLUE, Ink.VERMILION, Ink.GREEN, Ink.PURPLE, Ink.ORANGE, Ink.GREY)

Points = tuple[list[int], list[float]]


def loss_figure(records: Sequence[Record], alerts: Sequence[Alert]) -> Figure | None:
    """The loss over the steps."""
    x, y = _points(records, "loss")
    if not x:
        return None
    is_positive = all(value > 0 for value in y if isfinite(value))
    data = [_line(x, y, name="loss")]
    caption = "Training loss on the batch of each step that was read."
    return _figure(data, alerts, "loss", caption, is_logarithmic=is_positive)


def layer_figure(
    records: Sequence[Record], alerts: Sequence[Alert], quantity: str, title: str
) -> Figure | None:
    """A quantity of each layer over the steps."""
    names = list(
        dict.fromkeys(
            name for record in records for name in record.values if name.startswith(f"{quantity}/")
        )
    )
    if not names:
        return None
    shown = names
    if len(names) > MOST_LAYERS:
        step = (len(names) - 1) / (MOST_LAYERS - 1)
        shown = [names[round(i * step)] for i in range(MOST_LAYERS)]
    data = []
    for number, name in enumerate(shown):
        x, y = _points(records, name)
        label = name.removeprefix(f"{quantity}/")
        is_dashed = number >= len(_INKS)
        data.append(_line(x, y, name=label, ink=_INKS[number % len(_INKS)], is_dashed=is_dashed))
    is_share = quantity in ("dead", "saturated")
    some = f"{len(shown)} of {len(names)} layers" if len(shown) < len(names) else "Every layer"
    return _figure(
        data, alerts, title, f"{some}, from input to output.", is_logarithmic=not is_share
    )


def sharpness_figure(records: Sequence[Record], alerts: Sequence[Alert]) -> Figure | None:
    """λ_max with its doubt, and the limit of the step."""
    names = ("sharpness", "preconditioned_sharpness", "step_sharpness")
    data: list[dict[str, Any]] = []
    for name, ink in zip(names, (Ink.BLUE, Ink.BLUE, Ink.GREEN), strict=True):
        x, y = _points(records, name)
        if not x:
            continue
        label = {"step_sharpness": "along the step"}.get(name, "λ_max")
        if name != "step_sharpness":
            _, error = _points([r for r in records if name in r.values], "sharpness_error")
            high = [value + e for value, e in zip(y, error, strict=True)]
            data.append(band(x, y, high, name=label, ink=ink))
        elif any("preconditioned_sharpness" in record.values for record in records):
            continue  # of another unit
        data.append(_line(x, y, name=label, ink=ink))
    x, y = _points(records, "stability_limit")
    if x:
        data.append(_line(x, y, name="limit", ink=Ink.TEXT, is_dashed=True))
    if not data:
        return None
    caption = (
        "λ_max of the Hessian, of the preconditioned one for Adam, on the data of curvature; the "
        "band is what its residual leaves open. The limit is 2/η, (2 + 2β)/η with momentum, "
        "(2 + 2β₁)/((1 − β₁)η) for Adam."
    )
    return _figure(data, alerts, "curvature", caption, is_logarithmic=True)


def decrease_figure(records: Sequence[Record], alerts: Sequence[Alert]) -> Figure | None:
    """Actual over predicted decrease."""
    x, y = _points(records, "decrease_ratio")
    if not x:
        return None
    data = [_line(x, y, name="actual / promised")]
    caption = (
        "What a step lowered the loss by, over what the slope promised: 1 where the loss is "
        "straight, ½ at the bottom of the parabola, below 0 where the loss went up."
    )
    return _figure(data, alerts, "actual / promised decrease", caption, is_logarithmic=False)


def noise_figure(records: Sequence[Record], alerts: Sequence[Alert]) -> Figure | None:
    """Noise over signal of the gradient."""
    x, y = _points(records, "noise_to_signal")
    if not x:
        return None
    caption = "Chance over signal in the square of the gradient, for batches of this size."
    return _figure(
        [_line(x, y, name="noise / signal")], alerts, "noise / signal", caption, is_logarithmic=True
    )


def spectrum_figure(records: Sequence[Record], alerts: Sequence[Alert]) -> Figure | None:
    """The share of negative eigenvalues with its interval."""
    x, y = _points(records, "negative_share")
    if not x:
        return None
    _, low = _points(records, "negative_share_low")
    _, high = _points(records, "negative_share_high")
    data = [
        band(x, low, high, name="negative eigenvalues"),
        _line(x, y, name="negative eigenvalues"),
    ]
    caption = "Share of the Hessian's eigenvalues that are clearly negative, with its interval."
    return _figure(data, alerts, "share of eigenvalues", caption, is_logarithmic=False)


def _line(
    x: list[int], y: list[float], *, name: str, ink: Ink = Ink.MEASURED, is_dashed: bool = False
) -> dict[str, Any]:
    """A line, with a dot at each reading where there are few."""
    few = len(x) < FEW_POINTS and not is_dashed
    return line(x, y, name=name, ink=ink, is_dashed=is_dashed, has_markers=few)


def _points(records: Sequence[Record], name: str) -> Points:
    found = [(r.step, r.values[name]) for r in records if name in r.values]
    if len(found) > MOST_POINTS:
        found = [*found[:: len(found) // MOST_POINTS + 1], found[-1]]
    return [step for step, _ in found], [value for _, value in found]


def _figure(
    data: list[dict[str, Any]],
    alerts: Sequence[Alert],
    title: str,
    caption: str,
    *,
    is_logarithmic: bool,
) -> Figure:
    shapes = [
        {
            "type": "line", "xref": "x", "yref": "paper", "x0": alert.step, "x1": alert.step,
            "y0": 0, "y1": 1, "line": {"color": Ink.VERMILION.value, "width": 1, "dash": "dot"},
        }
        for alert in alerts
    ]  # fmt: skip
    labels = [
        {
            "xref": "x", "yref": "paper", "x": alert.step, "y": 1, "text": alert.ailment,
            "showarrow": False, "textangle": -90, "xanchor": "right", "yanchor": "top",
            "font": {"color": Ink.TEXT.value, "size": 11},
        }
        for alert in alerts
    ]  # fmt: skip
    said = f" Alerts: {', '.join(f'{a.ailment} at {a.step}' for a in alerts)}." if alerts else ""
    ends = [
        f"{trace['name']} from {trace['y'][0]:.3g} to {trace['y'][-1]:.3g}"
        for trace in data
        if trace.get("fill") != "toself" and trace["y"]
    ]
    layout = {
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": title}, "type": "log" if is_logarithmic else "linear"},
        "shapes": shapes,
        "annotations": labels,
    }
    return Figure(data, layout, caption + said, f"{title} over the steps: {'; '.join(ends)}.{said}")
