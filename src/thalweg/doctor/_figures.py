"""The pictures of an examination, each with the sentence that says what to see."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log10
from statistics import fmean
from typing import Any

from thalweg.curvature import CriticalPoint
from thalweg.doctor._examination import Examination, TriedRemedy
from thalweg.doctor._trial import Run
from thalweg.report import Figure, Ink, band, line
from thalweg.signal import Signal


def gradient_figure(signal: Signal) -> Figure:
    """Gradient norm by layer, measured and predicted."""
    names = [row.name for row in signal.rows]
    norms = [row.gradient_norm for row in signal.rows]
    data = [line(names, norms, name="measured", has_markers=True)]
    caption = "The norm of the loss's gradient by each layer's output, from input to output."
    predicted = [row.predicted_gradient_norm for row in signal.rows]
    if None not in predicted:
        data.append(_predicted(names, predicted))
        caption += (
            " The dashed line is what mean-field theory predicts from the weights' variances and "
            "the activation alone, starting at the last layer."
        )
    if signal.gradient:
        caption += (
            f" Each layer towards the input multiplies it by {signal.gradient.factor:.3g} "
            f"(95 % between {signal.gradient.low:.3g} and {signal.gradient.high:.3g})."
        )
    alt = f"Gradient norm from {norms[0]:.2g} at the first layer to {norms[-1]:.2g} at the last"
    layout = _axes("layer", "‖∂L/∂z‖", {"type": "log", "exponentformat": "power"})
    layout["xaxis"] |= {"type": "category"}
    return Figure(data, layout, caption, alt)


def scale_figure(signal: Signal) -> Figure:
    """Activation scale by layer, measured and predicted."""
    names = [row.name for row in signal.rows]
    data = [line(names, [row.scale for row in signal.rows], name="measured", has_markers=True)]
    predicted = [row.predicted_scale for row in signal.rows]
    caption = "The root mean square of each layer's output, before its activation."
    if None not in predicted:
        data.append(_predicted(names, predicted))
        caption += " Dashed: mean-field theory."
    layout = _axes("layer", "root mean square of z", {"rangemode": "tozero"})
    layout["xaxis"] |= {"type": "category"}
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
    layout = _axes("layer", "share (%)", {"range": [0, 100]})
    layout["xaxis"] |= {"type": "category"}
    caption = "How much of each layer's activation passes hardly any gradient."
    return Figure(data, layout, caption, "Saturated and dead units by layer")


def curves_figure(examination: Examination, shown: Sequence[TriedRemedy]) -> Figure:
    """Training loss by step, as it is and remedied, with the range over the seeds."""
    start = [(0, [examination.loss])]
    curves = [("as it is", [*start, *_columns(examination.control)])]
    curves += [(remedy.name, _columns(remedy.runs)) for remedy in shown]
    data: list[dict[str, Any]] = []
    for (name, columns), ink in zip(curves, _INKS, strict=False):
        data += _banded(name, columns, ink)
    caption = (
        f"Training loss over {examination.num_steps} steps, mean of {len(examination.control)} "
        f"seeds, with the range between the seeds. Same seeds, data order and steps for all."
    )
    # A log axis where the curves run over decades, and a run that blows up stays in the picture.
    values = [value for _, columns in curves for _, losses in columns for value in losses]
    is_log = min(values) > 0 and max(values) > 30 * min(values)
    axis = {"type": "log"} if is_log else {"rangemode": "tozero"}
    alt = "Training curves of the network as it is and with the remedies tried"
    return Figure(data, _axes("step", "training loss", axis), caption, alt)


def spectrum_figure(card: CriticalPoint) -> Figure:
    """The Hessian's eigenvalues: all of them, or their density."""
    if card.density is not None:
        return _density_figure(card)
    values = card.inertia.eigenvalues
    assert values is not None, "a spectrum without a density is exact"
    order = list(range(1, len(values) + 1))
    sizes = [float(v) for v in values.flip(0)]
    largest = max(map(abs, sizes)) or 1.0
    # Symmetric logarithm: eigenvalues run over decades on both sides of zero.
    floor = largest * 1e-9
    heights = [_symlog(v, floor) for v in sizes]
    decades = [10.0**e for e in range(int(log10(floor)), int(log10(largest)) + 1, 3)]
    ticks = sorted({0.0, *decades, *(-d for d in decades)})
    data = [
        {
            "type": "scatter", "mode": "markers", "name": "eigenvalues", "x": order, "y": heights,
            "marker": {"size": 4, "color": Ink.MEASURED.value}, "showlegend": False,
            "customdata": sizes,
            "hovertemplate": "λ%{x} = %{customdata:.4g}<extra></extra>",
        }
    ]  # fmt: skip
    layout = _axes(
        "rank", "eigenvalue λ (symmetric log)",
        {
            "tickvals": [_symlog(t, floor) for t in ticks],
            "ticktext": ["0" if t == 0 else f"{t:.0e}" for t in ticks],
        },
    )  # fmt: skip
    caption = (
        f"All {len(sizes)} eigenvalues of the Hessian: {card.inertia.negative:.0f} negative, "
        f"{card.inertia.null:.0f} zero to rounding, {card.inertia.positive:.0f} positive."
    )
    return Figure(data, layout, caption, "Eigenvalues of the Hessian in order of size")


def _density_figure(card: CriticalPoint) -> Figure:
    density = card.density
    assert density is not None, "asked for first"
    grid = [float(x) for x in density.grid]
    middle = [float(y) for y in density.density]
    errors = [2 * float(e) for e in density.stderr]
    # On a log axis the band is cut where it would reach zero.
    floor = max(max(middle) * 1e-8, 1e-300)
    low = [max(y - e, floor) for y, e in zip(middle, errors, strict=True)]
    high = [max(y + e, floor) for y, e in zip(middle, errors, strict=True)]
    data = [
        band(grid, low, high, name="density"),
        line(grid, [max(y, floor) for y in middle], name="density"),
    ]
    caption = (
        f"The density of the Hessian's {card.num_parameters:,} eigenvalues by stochastic Lanczos "
        f"quadrature, with two standard errors."
    )
    layout = _axes("eigenvalue λ", "density", {"type": "log", "exponentformat": "power"})
    return Figure(data, layout, caption, "Spectral density of the Hessian")


_INKS = (Ink.BEFORE, Ink.AFTER, Ink.GREEN, Ink.PURPLE, Ink.ORANGE)
"""The network as it is, and the remedies in their order."""

_FEW = 4
"""A curve of fewer points shows each of them."""

_Columns = list[tuple[int, list[float]]]
"""Steps, each with the losses of the runs that got there."""


def _banded(name: str, columns: _Columns, ink: Ink) -> list[dict[str, Any]]:
    if not columns:
        return []
    steps, losses = zip(*columns, strict=True)
    low, middle, high = ([f(values) for values in losses] for f in (min, fmean, max))
    return [
        band(steps, low, high, name=name, ink=ink),
        line(
            steps, middle, name=name, ink=ink,
            is_dashed=ink is Ink.BEFORE, has_markers=len(steps) < _FEW,
        ),
    ]  # fmt: skip


def _columns(runs: Sequence[Run]) -> _Columns:
    """The losses of all runs by stretch, as far as any run got, finite ones only."""
    columns = []
    for i in range(max((len(run.losses) for run in runs), default=0)):
        reached = [run for run in runs if i < len(run.losses) and isfinite(run.losses[i])]
        if reached:
            columns.append((reached[0].steps[i], [run.losses[i] for run in reached]))
    return columns


def _predicted(x: Sequence[Any], y: Sequence[Any]) -> dict[str, Any]:
    return line(x, y, name="mean-field theory", ink=Ink.PREDICTED, is_dashed=True)


def _bars(name: str, x: Sequence[str], y: Sequence[float], ink: Ink) -> dict[str, Any]:
    return {"type": "bar", "name": name, "x": list(x), "y": list(y), "marker": {"color": ink.value}}


def _axes(x: str, y: str, extra: dict[str, Any]) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, **extra}}


def _symlog(value: float, floor: float) -> float:
    size = abs(value)
    return 0.0 if size <= floor else (1 if value > 0 else -1) * log10(size / floor)
