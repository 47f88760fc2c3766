"""The pictures of an escape: displacement by step, and steps by distance."""

from __future__ import annotations

from math import floor as rounded_down
from math import isfinite, isnan, log10
from typing import Any

from torch import Tensor

from thalweg.critical._escape import Escape
from thalweg.critical._escape_run import EscapeRun
from thalweg.report import Figure, Ink, line

_INKS = (Ink.BLUE, Ink.VERMILION, Ink.GREEN, Ink.PURPLE, Ink.ORANGE, Ink.GREY)

LOWEST = 1e-6
"""Displacements below this share of the start's distance lie at the edge of the picture."""

MOST = 1e3
"""Farther than this nothing is drawn."""

MOST_POINTS = 150
"""Of one curve."""


def nearest(found: Escape) -> list[EscapeRun]:
    """Of each method the run from the nearest start that the saddle's own error leaves standing."""
    chosen = []
    for method in found.methods:
        runs = found.of(method)
        good = [run for run in runs if found.is_resolved(run)]
        chosen.append((good or list(runs))[-1])
    return chosen


def displacement_figure(found: Escape, number: int, kind: str) -> Figure:
    """|cᵢ| by step for every method, with theory dashed.

    Args:
        found: the escape.
        number: i, of the eigenvector.
        kind: what it is called.
    """
    data: list[dict[str, Any]] = []
    start = nearest(found)[0].distance
    floor = LOWEST * start
    for i, run in enumerate(nearest(found)):
        ink = _INKS[i % len(_INKS)]
        every = max(1, -(-run.num_steps // MOST_POINTS))
        steps = list(range(0, run.num_steps + 1, every))
        if run.predicted is not None:
            theory = line(
                steps, _sizes(run.predicted[::every, number], floor), name=run.method, ink=ink,
                is_dashed=True,
            )  # fmt: skip
            data.append(theory | {"showlegend": False, "hoverinfo": "skip"})
        dots = line(
            steps, _sizes(run.coordinates[::every, number], floor), name=run.method, ink=ink,
            has_markers=True,
        )  # fmt: skip
        dots["mode"] = "markers" if run.predicted is not None else "lines+markers"
        dots["hovertemplate"] = f"{run.method}, step %{{x}}: %{{y:.3g}}<extra></extra>"
        data.append(dots)
    value = float(found.eigenvalues[number])
    caption = (
        f"Displacement along the eigenvector of the {kind}, λ = {number_in_words(value)}, from a "
        f"start {power(start)} away: dots measured, dashes theory. What is at the lower edge is "
        f"there or nearer."
    )
    layout = {
        "xaxis": {"title": {"text": "step"}},
        "yaxis": {"title": {"text": "|displacement|"}, "type": "log",
                  "range": [log10(floor) - 0.3, log10(_largest(data)) + 0.4]},
    }  # fmt: skip
    return Figure(data, layout, caption, f"Displacement by step along the {kind}", height=340)


def steps_figure(found: Escape) -> Figure | None:
    """Steps until out by distance of the start, with theory dashed."""
    data: list[dict[str, Any]] = []
    for i, method in enumerate(found.methods):
        ink = _INKS[i % len(_INKS)]
        runs = found.of(method)
        told = [run for run in runs if run.predicted_at is not None and run.predicted_at < 10_000]
        out = [run for run in runs if run.escaped_at is not None]
        if told:
            theory = line(
                [run.distance for run in told], [run.predicted_at for run in told], name=method,
                ink=ink, is_dashed=True,
            )  # fmt: skip
            data.append(theory | {"showlegend": False, "hoverinfo": "skip"})
        if out:
            dots = line(
                [run.distance for run in out], [run.escaped_at for run in out], name=method,
                ink=ink, has_markers=True,
            )  # fmt: skip
            dots["mode"] = "markers" if told else "lines+markers"
            dots["hovertemplate"] = f"{method} from %{{x:.0e}}: %{{y}} steps<extra></extra>"
            data.append(dots)
    if not data:
        return None
    caption = (
        f"Steps until it is {found.radius:g} away with a lower loss, by the distance of the start: "
        f"dots measured, dashes theory. What never leaves has no dot."
    )
    layout = {
        "xaxis": {"title": {"text": "distance of the start"}, "type": "log"},
        "yaxis": {"title": {"text": "steps"}, "type": "log"},
    }
    return Figure(data, layout, caption, "Steps to escape by distance of the start", height=340)


def power(distance: float) -> str:
    """1e-8 as 10⁻⁸, 3e-4 as 3·10⁻⁴."""
    exponent = rounded_down(log10(distance) + 1e-9)
    front = f"{distance / 10.0**exponent:.3g}"
    raised = str(exponent).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    return f"10{raised}" if front == "1" else f"{front}·10{raised}"


def number_in_words(value: float) -> str:
    """To four digits, with a true minus sign; – for what is not known."""
    if isnan(value):
        return "–"
    text = f"{value:.4g}" if abs(value) >= 1e-12 else "0"
    return f"−{text[1:]}" if text.startswith("-") else text


def _sizes(c: Tensor, floor: float) -> list[float | None]:
    """Absolute values, at the floor where they are below it."""
    sizes = [abs(v) for v in c.tolist()]
    return [max(v, floor) if isfinite(v) else None for v in sizes]


def _largest(data: list[dict[str, Any]]) -> float:
    """Of what is drawn; a step without end is not to flatten the rest."""
    sizes: list[float] = [v for trace in data for v in trace["y"] if v is not None]
    return min(max(sizes), MOST)
