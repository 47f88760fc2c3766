"""The pictures of a comparison, each with the sentence that says what to see."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from math import isfinite
from statistics import median
from typing import Any

from thalweg.optim import StepRecord
from thalweg.race._comparison import Comparison, Entry
from thalweg.race._trial import Mark, Trial
from thalweg.report import Figure, Ink, band, line

MOST_SHOWN = 8
"""Curves of one picture; more cannot be told apart."""

BLOWN_UP = 100.0
"""So many times the loss it begins with, a curve leaves the picture."""

MOST_BANDS = 4
"""Ranges over the seeds of one picture; more hide one another."""

MOST_POINTS = 120
"""Of one curve."""

MOST_STEPS = 300
"""Steps of a picture of records; of more, every so many are shown."""

_INKS = (Ink.BLUE, Ink.VERMILION, Ink.GREEN, Ink.PURPLE, Ink.ORANGE, Ink.GREY)

Read = Callable[[Mark], float | None]


def ink_of(number: int) -> tuple[Ink, bool]:
    """Colour, and whether dashed, of the curve of that number."""
    return _INKS[number % len(_INKS)], number >= len(_INKS)


def training_figure(comparison: Comparison, unit: str) -> Figure:
    """Training loss by "gradients", "seconds" or "step"."""
    titles = {
        "gradients": "gradients over all training data",
        "seconds": "seconds",
        "step": "step",
    }
    caption = (
        f"Training loss by {titles[unit]}: median over the seeds, and for the first "
        f"{MOST_BANDS} their range."
    )
    figure = _curves(
        comparison, lambda mark: getattr(mark, unit), lambda mark: mark.loss,
        titles[unit], "training loss", caption,
    )  # fmt: skip
    if comparison.target is not None:
        x = [x for trace in figure.data for x in trace["x"]]
        ends = [min(x), max(x)]
        target = [comparison.target] * 2
        goal = line(ends, target, name="target", ink=Ink.TEXT, is_dashed=True)
        return Figure([*figure.data, goal], figure.layout, figure.caption, figure.alt)
    return figure


def held_out_figure(comparison: Comparison, *, is_accuracy: bool) -> Figure:
    """Held-out loss or accuracy by the unit of the budget."""
    is_seconds = comparison.budget.is_seconds
    what = "held-out accuracy (%)" if is_accuracy else "held-out loss"

    def read(mark: Mark) -> float | None:
        if is_accuracy:
            return None if mark.accuracy is None else 100 * mark.accuracy
        return mark.held_out_loss

    return _curves(
        comparison, lambda mark: mark.spent(is_seconds), read,
        "seconds" if is_seconds else "gradients over all training data", what,
        f"{what[0].upper()}{what[1:]}, on {comparison.num_held_out:,} samples that were not "
        f"trained on: median over the seeds.",
        is_logarithmic=not is_accuracy,
    )  # fmt: skip


def sharpness_figure(comparison: Comparison, *, is_ratio: bool) -> Figure | None:
    """λ_max along the way: as a share of the stability limit, or by itself."""
    is_seconds = comparison.budget.is_seconds
    data: list[dict[str, Any]] = []
    for number, entry in enumerate(comparison.entries[:MOST_SHOWN]):
        marks = [mark for trial in entry.trials[:1] for mark in trial.sharpness]
        marks = [mark for mark in marks if not is_ratio or mark.ratio is not None]
        # A preconditioned λ_max has another unit.
        plain = [m for m in marks if is_ratio or not m.rule or "Adam" not in m.rule]
        points = [
            (m.seconds if is_seconds else m.gradients, m.ratio if is_ratio else m.sharpness)
            for m in plain
        ]
        points = [(x, y) for x, y in points if x > 0 and y is not None and y > 0]
        if points:
            ink, is_dashed = ink_of(number)
            places, values = zip(*points, strict=True)
            data.append(
                line(
                    places, values, name=entry.name, ink=ink, is_dashed=is_dashed, has_markers=True
                )
            )
    if not data:
        return None
    if is_ratio:
        x = [x for trace in data for x in trace["x"]]
        data.append(line([min(x), max(x)], [1, 1], name="limit", ink=Ink.TEXT, is_dashed=True))
        caption = (
            "λ_max over the curvature at which the method's step turns unstable on a quadratic: "
            "2/η, (2 + 2β)/η with momentum, of the preconditioned Hessian for Adam. Near 1 a run "
            "moves at the edge of stability; its learning rate cannot grow."
        )
        title = "λ_max / stability limit"
    else:
        caption = (
            "λ_max of the Hessian of the training loss: how sharp the places are that each "
            "method goes through."
        )
        title = "λ_max"
    layout = _axes("seconds" if is_seconds else "gradients", title)
    names = ", ".join(trace["name"] for trace in data if trace["name"] != "limit")
    return Figure(data, layout, caption, f"{title} along the first seed of {names}")


def decrease_figure(entry: Entry, records: Sequence[StepRecord]) -> Figure | None:
    """Predicted and actual decrease of each step."""
    shown = _thinned([r for r in records if r.actual_decrease is not None])
    traces = [
        ("first order, −gᵀs", [r.first_order_decrease for r in shown], Ink.GREY, True),
        ("second order", [r.second_order_decrease for r in shown], Ink.ORANGE, True),
        ("actual", [r.actual_decrease for r in shown], Ink.BLUE, False),
    ]
    data = [
        line(
            [r.step for r in shown], [v if v is not None and v > 0 else None for v in values],
            name=name, ink=ink, is_dashed=is_dashed,
        )
        for name, values, ink, is_dashed in traces
        if any(v is not None and v > 0 for v in values)
    ]  # fmt: skip
    if not data:
        return None
    ratios = [r.ratio for r in shown if r.ratio is not None and isfinite(r.ratio)]
    said = f" Half of the steps do at least {median(ratios):.2f} of it." if ratios else ""
    return Figure(
        data,
        _axes("step", "decrease of the loss", is_logarithmic_x=False),
        f"{entry.name}: the decrease that the slope alone and the quadratic model predict, and the "
        f"actual one. Gaps are steps that raised the loss.{said}",
        f"Predicted and actual decrease of {entry.name} by step",
    )


def inner_figure(entry: Entry, records: Sequence[StepRecord]) -> Figure | None:
    """Damping or radius, size of the subspace and negative curvature of each step."""
    shown = _thinned(records)
    steps = [r.step for r in shown]
    negative = [
        -r.lowest_curvature if r.lowest_curvature is not None and r.lowest_curvature < 0 else None
        for r in shown
    ]
    traces: list[tuple[str, Sequence[float | None], Ink, bool]] = [
        ("damping λ", [r.damping for r in shown], Ink.BLUE, False),
        ("radius", [r.radius for r in shown], Ink.GREEN, False),
        ("directions", [r.subspace_size for r in shown], Ink.ORANGE, False),
        ("most negative curvature, |λ|", negative, Ink.VERMILION, True),
    ]
    data = []
    for name, values, ink, is_negative in traces:
        positive = [v if v is not None and v > 0 else None for v in values]
        if any(v is not None for v in positive):
            trace = line(steps, positive, name=name, ink=ink, has_markers=is_negative)
            data.append(trace | ({"mode": "markers"} if is_negative else {}))
    if not data:
        return None
    met = sum(bool(r.has_negative_curvature) for r in records)
    escapes = sum(r.is_escape for r in records)
    refused = sum(not r.is_accepted for r in records)
    return Figure(
        data,
        _axes("step", "damping, directions, curvature", is_logarithmic_x=False),
        f"{entry.name}: what each step worked with. Of {len(records):,} steps {met:,} met negative "
        f"curvature, {escapes:,} left along it, and {refused:,} were refused.",
        f"Damping, subspace size and negative curvature of {entry.name} by step",
    )


def _curves(
    comparison: Comparison,
    across: Callable[[Mark], float],
    read: Read,
    x_title: str,
    y_title: str,
    caption: str,
    *,
    is_logarithmic: bool = True,
) -> Figure:
    curves = []
    for number, entry in enumerate(comparison.entries[:MOST_SHOWN]):
        x, *heights = _spread(entry.trials, across, read)
        if not x:
            continue
        curves.append((number, entry, x, heights))
    values = [y for *_, heights in curves for curve in heights for y in curve]
    starts = [read(t.marks[0]) for e in comparison.entries for t in e.trials]
    most = BLOWN_UP * max((abs(start) for start in starts if start is not None), default=1.0)
    least = min((y for y in values if y > 0), default=None)
    is_log = is_logarithmic and least is not None
    data: list[dict[str, Any]] = []
    for number, entry, x, heights in curves:
        # A loss of zero has no place on a logarithmic axis: it stands at the lower end.
        low, middle, high = (
            [min(max(y, least), most) if is_log and least else y for y in curve]
            for curve in heights
        )
        # Nor is it any use to see how far a run flies off.
        kept = next((i for i, y in enumerate(middle) if y >= most), len(middle))
        x, low, middle, high = (part[: kept + 1] for part in (x, low, middle, high))
        ink, is_dashed = ink_of(number)
        if number < MOST_BANDS and len(entry.trials) > 1:
            data.append(band(x, low, high, name=entry.name, ink=ink))
        has_markers = len(x) < 4
        data.append(
            line(x, middle, name=entry.name, ink=ink, is_dashed=is_dashed, has_markers=has_markers)
        )
    left_out = [entry.name for entry in comparison.entries[MOST_SHOWN:]]
    if left_out:
        caption += f" Not shown: {', '.join(left_out)}."
    names = ", ".join(entry.name for entry in comparison.entries[:MOST_SHOWN])
    layout = _axes(x_title, y_title, is_logarithmic_y=is_log)
    return Figure(data, layout, caption, f"{y_title} of {names} by {x_title}", height=400)


def _spread(
    trials: Sequence[Trial], across: Callable[[Mark], float], read: Read
) -> tuple[list[float], list[float], list[float], list[float]]:
    """Lowest, median and highest over the seeds that are still running, at common places.

    Between two readings a run stands where it stood at the first.
    """
    curves = []
    for trial in trials:
        points = [(across(mark), read(mark)) for mark in trial.marks if mark.gradients]
        found = [(x, y) for x, y in points if x > 0 and y is not None and isfinite(y)]
        if found:
            curves.append(found)
    if not curves:
        return [], [], [], []
    places = sorted({x for curve in curves for x, _ in curve})
    stride = max(1, len(places) // MOST_POINTS)
    places = [*places[::stride], *([places[-1]] if (len(places) - 1) % stride else [])]
    kept, low, middle, high = [], [], [], []
    for place in places:
        values = [_at(curve, place) for curve in curves]
        known = [value for value in values if value is not None]
        if known:
            kept.append(place)
            low.append(min(known))
            middle.append(median(known))
            high.append(max(known))
    return kept, low, middle, high


def _at(curve: Sequence[tuple[float, float]], place: float) -> float | None:
    index = bisect_right(curve, place, key=lambda point: point[0])
    return curve[index - 1][1] if index else None


def _thinned(records: Sequence[StepRecord]) -> list[StepRecord]:
    return list(records[:: max(1, -(-len(records) // MOST_STEPS))])


def _axes(
    x: str, y: str, *, is_logarithmic_x: bool = True, is_logarithmic_y: bool = True
) -> dict[str, Any]:
    power = {"type": "log", "exponentformat": "power"}
    return {
        "xaxis": {"title": {"text": x}, **({"type": "log"} if is_logarithmic_x else {})},
        "yaxis": {"title": {"text": y}, **(power if is_logarithmic_y else {})},
    }
