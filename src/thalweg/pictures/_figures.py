"""The pictures of a landscape, each with the sentence that says what to see."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from typing import Any

import torch
from scipy.interpolate import RegularGridInterpolator
from torch import Tensor

from thalweg.pictures._axis import Axis
from thalweg.pictures._landscape import Landscape, Slice
from thalweg.pictures._words import percent, shown
from thalweg.report import Figure, Ink, band, line

WIDE = 30.0
"""Losses that run over more than so many times are shown on a logarithmic scale."""

MOST_TRACKS = 6
"""Paths of one picture; more cannot be told apart."""

SKEWED = 0.25
"""Where the median loss lies in the lowest share of the range, colours follow the logarithm."""

FLOOR = 0.02
"""Added to the height, as a share of the range, before its logarithm is taken."""

MOST_BETWEEN = 10
"""Places that are drawn for each that was kept, at most."""

_INKS = (Ink.VERMILION, Ink.BLUE, Ink.GREEN, Ink.PURPLE, Ink.ORANGE, Ink.GREY)
_SHELLS = (0.04, 0.4)
"""The shares of cells below the innermost and the outermost shell of three axes."""


class Kind(Enum):
    """How losses become colours."""

    PLAIN = "as they are"
    LOG = "by their logarithm"
    DEEP = "by the logarithm of their height above the lowest"


@dataclass(frozen=True)
class Scale:
    """How losses become colours, so that the lowest part does not drown in one of them.

    Args:
        kind: by logarithm where they run over decades, by their height where most are low.
        low: the lowest.
        span: from the lowest to the highest.
    """

    kind: Kind
    low: float
    span: float

    @classmethod
    def of(cls, values: Tensor, *, is_height: bool = False) -> Scale:
        """The scale that fits; heights are never DEEP, since a reader takes them for losses."""
        finite = values[torch.isfinite(values)]
        if not len(finite):
            return cls(Kind.PLAIN, 0.0, 1.0)
        low, high = float(finite.min()), float(finite.max())
        span = high - low or 1.0
        if low > 0 and high > WIDE * low:
            return cls(Kind.LOG, low, span)
        is_deep = float(finite.median()) - low < SKEWED * span and not is_height
        return cls(Kind.DEEP if is_deep else Kind.PLAIN, low, span)

    def __call__(self, values: Tensor) -> Tensor:
        """Of losses; NaN where they are not finite."""
        gaps = torch.where(torch.isfinite(values), values, torch.nan)
        if self.kind is Kind.DEEP:
            return ((gaps - self.low) / self.span + FLOOR).log10()
        return gaps.log10() if self.kind is Kind.LOG else gaps

    def back(self, places: Tensor) -> Tensor:
        """The losses of what `__call__` gave."""
        if self.kind is Kind.DEEP:
            return (10.0**places - FLOOR) * self.span + self.low
        return 10.0**places if self.kind is Kind.LOG else places

    @property
    def said(self) -> str:
        """For a caption."""
        said = {Kind.PLAIN: "", Kind.LOG: ", on a logarithmic scale",
                Kind.DEEP: ", denser towards the lowest"}  # fmt: skip
        return said[self.kind]

    def ticks(self, values: Tensor) -> dict[str, Any]:
        """Tick marks in losses, where the scale is not plain."""
        if self.kind is Kind.PLAIN:
            return {}
        if self.kind is Kind.DEEP:
            marks = [self.low + share * self.span for share in (0.0, 0.02, 0.08, 0.3, 1.0)]
        else:
            finite = values[torch.isfinite(values)]
            low, high = log10(float(finite.min())), log10(float(finite.max()))
            steps = (1.0, 2.0, 5.0) if high - low < 2.5 else (1.0,)
            every = max(1, ceil((high - low) / 6)) if len(steps) == 1 else 1
            marks = [
                m * 10.0**e
                for e in range(floor(low), ceil(high) + 1, every)
                for m in steps
                if low <= log10(m * 10.0**e) <= high
            ]
        places = self(torch.tensor(marks, dtype=torch.float64)).tolist()
        return {"tickvals": places, "ticktext": [shown(m, 3) for m in marks]}


def _digits(values: Tensor) -> list[Any]:
    """To five digits, which is more than a picture shows, and keeps the page small."""
    if values.ndim > 1:
        return [_digits(row) for row in values]
    return [float(f"{v:.5g}") if isfinite(v) else None for v in values.tolist()]


def _title(axis: Axis) -> str:
    return f"{axis.name} ({axis.unit})"


def slice_figure(axis: Axis, piece: Slice) -> Figure:
    """The loss along one axis, with the quadratic model."""
    c = _digits(piece.coordinates)
    finite = piece.losses[torch.isfinite(piece.losses)]
    data: list[dict[str, Any]] = []
    if piece.stderr is not None:
        below, above = piece.losses - 2 * piece.stderr, piece.losses + 2 * piece.stderr
        data.append(band(c, _digits(below), _digits(above), name="loss"))
    data.append(line(c, _digits(piece.losses), name="loss"))
    if piece.model is not None:
        data.append(
            line(c, _digits(piece.model), name="quadratic model", ink=Ink.GREY, is_dashed=True)
        )
    data.append(_dots([0.0], [piece.centre], "the point", Ink.TEXT))
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": _title(axis)}},
        "yaxis": {"title": {"text": "loss"}},
    }
    if len(finite):
        # The parabola may leave the picture; the loss stays in it.
        low, high = float(finite.min()), float(finite.max())
        pad = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
        layout["yaxis"]["range"] = [low - pad, high + pad]
    caption = f"Along the {axis.name}: {reach_clause(piece)}."
    if piece.stderr is not None:
        caption += " The band is two standard errors of what the loss differs by from the point."
    return Figure(data, layout, caption, f"Loss along the {axis.name}", height=280)


def reach_clause(piece: Slice) -> str:
    """How far the quadratic model holds, in words."""
    if piece.reach is None:
        return f"the loss is {shown(piece.centre)} at the point"
    if piece.reach >= float(piece.coordinates.abs().max()):
        return "the quadratic model holds over the whole picture"
    if piece.reach == 0:
        return "the quadratic model fails from the first step shown"
    return f"the quadratic model is right to a tenth of the change up to ±{piece.reach:.2g}"


def plane_figures(seen: Landscape) -> list[Figure]:
    """Two axes: level lines, and the surface."""
    scale = Scale.of(seen.values)
    x, y = (_digits(tick) for tick in seen.ticks)
    z = scale(seen.values).T
    bar = {
        "orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0.5, "len": 1.0, "thickness": 10,
        "ticklabelposition": "outside top", **scale.ticks(seen.values),
    }  # fmt: skip
    contour = {
        "type": "contour", "x": x, "y": y, "z": _digits(z), "name": "loss", "ncontours": 24,
        "contours": {"coloring": "fill"}, "line": {"width": 0.6, "color": "rgba(255,255,255,0.45)"},
        "colorbar": bar, "customdata": _digits(seen.values.T), "connectgaps": seen.is_partial,
        "hovertemplate": "loss %{customdata:.4g}<br>%{x:.3g}, %{y:.3g}<extra></extra>",
    }  # fmt: skip
    data = [
        contour,
        *_flat_tracks(seen),
        _dots([0.0], [0.0], "the point", Ink.TEXT, is_haloed=True),
    ]
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": _title(seen.axes[0])}, "range": _ends(seen.ticks[0])},
        "yaxis": {"title": {"text": _title(seen.axes[1])}, "range": _ends(seen.ticks[1])},
    }
    low, high = seen.range
    caption = (
        f"Level lines of the loss, from {shown(low)} to {shown(high)}{scale.said}. {_over(seen)}"
    ).strip()
    levels = Figure(data, layout, caption, f"Contours of the loss: {_alt(seen)}", height=460)
    return [levels, _surface(seen, z)]


def _surface(seen: Landscape, colours: Tensor) -> Figure:
    scale = Scale.of(seen.values, is_height=True)
    z = scale(seen.values).T
    x, y = (_digits(tick) for tick in seen.ticks)
    surface = {
        "type": "surface", "x": x, "y": y, "z": _digits(z), "showscale": False,
        "surfacecolor": _digits(colours),
        "connectgaps": seen.is_partial, "opacity": 0.95, "customdata": _digits(seen.values.T),
        "hovertemplate": "loss %{customdata:.4g}<extra></extra>",
        "contours": {"z": {"show": True, "color": "rgba(255,255,255,0.5)", "highlight": False,
                           "width": 1}},
    }  # fmt: skip
    span = float(z[torch.isfinite(z)].max() - z[torch.isfinite(z)].min()) if len(z) else 0.0
    lift = 0.01 * span  # so that the path does not sink into the surface
    data: list[dict[str, Any]] = [surface]
    for number, track in enumerate(seen.tracks[:MOST_TRACKS]):
        where = _between(track.coordinates, seen.ticks)
        height = RegularGridInterpolator(
            [tick.numpy() for tick in seen.ticks], z.T.numpy(), bounds_error=False
        )(where.numpy())
        data += _solid_track(track.name, where, number, torch.from_numpy(height) + lift)
    here = scale(torch.tensor([seen.centre], dtype=torch.float64)) + lift
    data.append(_solid_dot(torch.zeros(1, 2, dtype=torch.float64), here))
    axis = {"nticks": 5}
    layout = {
        "scene": {
            "xaxis": {"title": {"text": _short(seen.axes[0])}, **axis},
            "yaxis": {"title": {"text": _short(seen.axes[1])}, **axis},
            "zaxis": {"title": {"text": "loss"}, **axis, **_sparse(scale.ticks(seen.values))},
            "aspectmode": "manual", "aspectratio": {"x": 1, "y": 1, "z": 0.7},
            "camera": _camera(1.45, -1.6, 1.05, -0.14),
        },
        "margin": {"l": 0, "r": 0, "t": 0, "b": 0},
    }  # fmt: skip
    caption = "The same as a surface; drag to turn it."
    return Figure(data, layout, caption, f"Surface of the loss: {_alt(seen)}", height=370)


def _camera(x: float, y: float, z: float, down: float) -> dict[str, Any]:
    return {"eye": {"x": x, "y": y, "z": z}, "center": {"x": 0, "y": 0, "z": down}}


def _sparse(ticks: dict[str, Any]) -> dict[str, Any]:
    if not ticks:
        return {}
    every = ceil(len(ticks["tickvals"]) / 5)
    return {name: values[::every] for name, values in ticks.items()}


def volume_figure(seen: Landscape) -> Figure:
    """Three axes: shells of equal loss."""
    scale = Scale.of(seen.values)
    values = scale(seen.values)
    grid = torch.meshgrid(*seen.ticks, indexing="ij")
    x, y, z = (_digits(g.reshape(-1)) for g in grid)
    finite = values[torch.isfinite(values)]
    low, high = (float(finite.quantile(q)) for q in _SHELLS) if len(finite) else (0.0, 1.0)
    inset = 0.08 * (high - low)  # a mark at the very end finds no room for its number
    marks = torch.linspace(low + inset, high - inset, 4, dtype=torch.float64)
    isosurface = {
        "type": "isosurface", "x": x, "y": y, "z": z, "value": _digits(values.reshape(-1)),
        "isomin": low, "isomax": high, "surface": {"count": 3}, "opacity": 0.4,
        "colorscale": "Cividis", "cmin": low, "cmax": high,
        "caps": {a: {"show": False} for a in "xyz"},
        "colorbar": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "thickness": 10, "len": 1.0,
                     "outlinewidth": 0, "tickvals": marks.tolist(),
                     "ticktext": [shown(m, 3) for m in scale.back(marks).tolist()]},
        "hoverinfo": "skip",
    }  # fmt: skip
    data: list[dict[str, Any]] = [isosurface]
    for number, track in enumerate(seen.tracks[:MOST_TRACKS]):
        data += _solid_track(track.name, track.coordinates, number, track.coordinates[:, 2])
    centre = torch.zeros(1, 2, dtype=torch.float64)
    data.append(_solid_dot(centre, torch.zeros(1, dtype=torch.float64)))
    names = dict(zip(("xaxis", "yaxis", "zaxis"), map(_short, seen.axes), strict=True))
    layout = {
        "scene": {
            **{key: {"title": {"text": name}, "nticks": 5} for key, name in names.items()},
            "aspectmode": "cube",
            "camera": _camera(1.5, -1.6, 1.0, -0.1),
        },
        "margin": {"l": 0, "r": 0, "t": 30, "b": 0},
    }  # fmt: skip
    caption = (
        f"Three shells of equal loss around the lowest part: the inner one holds "
        f"{percent(_SHELLS[0])} of the cells, the outer one {percent(_SHELLS[1])}. Drag to turn. "
        f"{_over(seen)}"
    ).strip()
    return Figure(data, layout, caption, f"Shells of equal loss: {_alt(seen)}", height=420)


def along_figure(seen: Landscape) -> Figure:
    """The loss along the paths, true and as the picture shows it."""
    data = []
    tracks = seen.tracks[:MOST_TRACKS]
    both = torch.cat([torch.cat([t.losses, t.shown_losses]) for t in tracks])
    for number, track in enumerate(tracks):
        ink = _INKS[number % len(_INKS)]
        steps = list(track.steps)
        own = f"{track.name}: " if len(tracks) > 1 else ""
        data.append(line(steps, _digits(track.losses), name=f"{own}true", ink=ink))
        data.append(
            line(steps, _digits(track.shown_losses), name=f"{own}shown", ink=ink, is_dashed=True)
        )
    axis: dict[str, Any] = {"title": {"text": "loss"}}
    if Scale.of(both, is_height=True).kind is Kind.LOG:
        axis["type"] = "log"
    layout: dict[str, Any] = {"xaxis": {"title": {"text": "step"}}, "yaxis": axis}
    caption = (
        "The loss at the places of the path, and at their shadows in the picture. Where the lines "
        "part, the picture shows heights that the path never had."
    )
    return Figure(data, layout, caption, "Loss along the path, true and as shown", height=320)


# -- pieces ---------------------------------------------------------------------------------


def _flat_tracks(seen: Landscape) -> list[dict[str, Any]]:
    traces: list[dict[str, Any]] = []
    for number, track in enumerate(seen.tracks[:MOST_TRACKS]):
        ink = _INKS[number % len(_INKS)]
        x, y = (_digits(track.coordinates[:, i]) for i in range(2))
        halo = line(x, y, name=track.name, ink=ink) | {"showlegend": False, "hoverinfo": "skip"}
        halo["line"] = {"color": "rgba(255,255,255,0.85)", "width": 4.5}
        traces.append(halo)
        path = line(x, y, name=track.name, ink=ink, has_markers=True)
        path["marker"] = {"color": ink.value, "size": 4}
        path["customdata"] = [
            [step, loss, flat]
            for step, loss, flat in zip(
                track.steps, _digits(track.losses), _digits(track.shown_losses), strict=True
            )
        ]
        path["hovertemplate"] = (
            f"{track.name}, step %{{customdata[0]}}<br>loss %{{customdata[1]:.4g}}, "
            f"here %{{customdata[2]:.4g}}<extra></extra>"
        )
        traces.append(path)
        start = _dots([x[0]], [y[0]], track.name, ink, is_haloed=True)
        start["marker"] |= {"symbol": "circle", "color": "#ffffff", "size": 9}
        start["marker"]["line"] = {"color": ink.value, "width": 2.5}
        traces.append(start | {"showlegend": False, "legendgroup": track.name})
    return traces


def _between(places: Tensor, ticks: tuple[Tensor, ...]) -> Tensor:
    """The same way with more places, so that it follows the surface between those that are kept."""
    cell = torch.stack([tick[1] - tick[0] for tick in ticks])
    pieces = [places[:1]]
    for a, b in pairwise(places):
        count = min(MOST_BETWEEN, max(1, ceil(float(((b - a) / cell).abs().max()))))
        shares = torch.linspace(0, 1, count + 1, dtype=torch.float64)[1:, None]
        pieces.append(a + shares * (b - a))
    return torch.cat(pieces)


def _solid_track(name: str, where: Tensor, number: int, height: Tensor) -> list[dict[str, Any]]:
    ink = _INKS[number % len(_INKS)]
    x, y = (_digits(where[:, i]) for i in range(2))
    return [
        {
            "type": "scatter3d", "mode": "lines", "name": name, "x": x, "y": y,
            "z": _digits(height), "line": {"color": ink.value, "width": 6}, "hoverinfo": "name",
        }
    ]  # fmt: skip


def _solid_dot(where: Tensor, height: Tensor) -> dict[str, Any]:
    return {
        "type": "scatter3d", "mode": "markers", "name": "the point", "x": _digits(where[:, 0]),
        "y": _digits(where[:, 1]), "z": _digits(height), "hoverinfo": "name",
        "marker": {"color": Ink.TEXT.value, "size": 4, "symbol": "diamond"},
    }  # fmt: skip


def _dots(
    x: list[float], y: list[float], name: str, ink: Ink, *, is_haloed: bool = False
) -> dict[str, Any]:
    marker: dict[str, Any] = {"color": ink.value, "size": 9, "symbol": "diamond"}
    if is_haloed:
        marker["line"] = {"color": "rgba(255,255,255,0.9)", "width": 1.5}
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "marker": marker,
        "hoverinfo": "name",
    }  # fmt: skip


def _over(seen: Landscape) -> str:
    if not seen.tracks:
        return ""
    left = len(seen.tracks) - MOST_TRACKS
    more = f" {left} more paths are in the table only." if left > 0 else ""
    return f"Each path begins at its open circle.{more}" if len(seen.axes) == 2 else more.strip()


def _ends(tick: Tensor) -> list[float]:
    return [float(tick[0]), float(tick[-1])]


def _short(axis: Axis) -> str:
    """Titles in space have little room."""
    words = axis.name.removesuffix(" of the path").removesuffix(", less the other axes")
    return words.replace("principal component", "component").replace(" direction", "")


def _alt(seen: Landscape) -> str:
    return " and ".join(axis.name for axis in seen.axes)
