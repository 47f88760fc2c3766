"""The pictures of an examination, each with the sentence that says what to see."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import fmean
from typing import Any

from thalweg.doctor._examination import Examination, TriedRemedy
from thalweg.doctor._trial import Run
from thalweg.report import Figure, Ink, band, line


def curves_figure(examination: Examination, shown: Sequence[TriedRemedy]) -> Figure:
    """Training loss by step, as it is and remedied, with the range over the seeds."""
    start = [] if examination.begun_at else [(0, [examination.loss])]
    curves = [("as it is", [*start, *_columns(examination.control)])]
    curves += [(remedy.name, _columns(remedy.runs)) for remedy in shown]
    data: list[dict[str, Any]] = []
    for (name, columns), ink in zip(curves, _INKS, strict=False):
        data += _banded(name, columns, ink)
    caption = (
        f"Training loss over {examination.stretch}, mean of {len(examination.control)} "
        f"seeds, with the range between the seeds. Same seeds, data order and steps for all."
    )
    # A log axis where the curves run over decades, and a run that blows up stays in the picture.
    values = [value for _, columns in curves for _, losses in columns for value in losses]
    is_log = min(values) > 0 and max(values) > 30 * min(values)
    axis = {"type": "log"} if is_log else {"rangemode": "tozero"}
    alt = "Training curves of the network as it is and with the remedies tried"
    return Figure(data, _axes("step", "training loss", axis), caption, alt)


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


def _axes(x: str, y: str, extra: dict[str, Any]) -> dict[str, Any]:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}, **extra}}
