"""The picture of a spectrum: every eigenvalue where all are known, else the density."""

from __future__ import annotations

from math import ceil, log10, pi, sqrt
from typing import Any

from torch import Tensor

from thalweg.linalg import Density, EigenPairs, Extremes, Inertia
from thalweg.report import Figure, Ink, band, line


def spectrum_figure(
    name: str, ends: Extremes, inertia: Inertia | None, density: Density | None
) -> Figure:
    """The eigenvalues of a matrix, the outermost ones marked with their bounds.

    Args:
        name: of the matrix.
        ends: the outermost eigenpairs.
        inertia: with all eigenvalues where all are known; None where only the ends are.
        density: None where all eigenvalues are known, or only the ends.
    """
    if density is not None:
        return _of_density(name, ends, density)
    if inertia is not None and inertia.eigenvalues is not None:
        return _of_eigenvalues(name, inertia, inertia.eigenvalues)
    return _of_ends(name, ends)


def _of_eigenvalues(name: str, inertia: Inertia, eigenvalues: Tensor) -> Figure:
    sizes = [float(v) for v in eigenvalues.flip(0)]
    largest = max(map(abs, sizes)) or 1.0
    # Symmetric logarithm: eigenvalues run over decades on both sides of zero.
    floor = max(inertia.null_tol, largest * 1e-9)
    heights = [_symlog(v, floor) for v in sizes]
    ticks = _ticks(floor, min(*heights, 0.0), max(*heights, 0.0))
    data = [
        {
            "type": "scatter", "mode": "markers", "name": "eigenvalues",
            "x": list(range(1, len(sizes) + 1)), "y": heights,
            "marker": {"size": 4, "color": Ink.MEASURED.value}, "showlegend": False,
            "customdata": sizes,
            "hovertemplate": "λ%{x} = %{customdata:.4g}<extra></extra>",
        }
    ]  # fmt: skip
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "rank"}},
        "yaxis": {
            "title": {"text": "eigenvalue λ (symmetric logarithm)"},
            "tickvals": [_symlog(t, floor) for t in ticks],
            "ticktext": [_power(t) for t in ticks],
        },
    }
    caption = (
        f"All {len(sizes):,} eigenvalues of the {name}: {inertia.negative:,.0f} negative, "
        f"{inertia.null:,.0f} zero to rounding, {inertia.positive:,.0f} positive."
    )
    return Figure(data, layout, caption, f"Eigenvalues of the {name} in order of size")


def _ticks(floor: float, low: float, high: float) -> list[float]:
    """Zero, and powers of ten on either side that are far enough apart to be read."""
    bottom, top = ceil(log10(floor) + 0.7), int((log10(floor) + max(high, -low)) // 1)
    every = max(1, ceil((top - bottom + 1) / 4))
    decades = [10.0**e for e in range(top, bottom - 1, -every)]
    ticks = sorted({0.0, *decades, *(-d for d in decades)})
    return [t for t in ticks if low <= _symlog(t, floor) <= high]


def _power(tick: float) -> str:
    if tick == 0:
        return "0"
    return f"{'−' if tick < 0 else ''}10<sup>{round(log10(abs(tick)))}</sup>".replace(">-", ">−")


def _of_density(name: str, ends: Extremes, density: Density) -> Figure:
    grid = [float(x) for x in density.grid]
    middle = [float(y) for y in density.density]
    errors = [2 * float(e) for e in density.stderr]
    # A single eigenvalue is a Gaussian this high: below it there is nothing to see.
    single = 1 / (density.size * density.width * sqrt(2 * pi))
    floor = 0.1 * single
    low = [max(y - e, floor) for y, e in zip(middle, errors, strict=True)]
    high = [max(y + e, floor) for y, e in zip(middle, errors, strict=True)]
    data = [
        band(grid, low, high, name="density"),
        line(grid, [max(y, floor) for y in middle], name="density"),
        *_outermost(ends, single),
    ]
    caption = (
        f"The density of the {name}'s {density.size:,} eigenvalues by stochastic Lanczos "
        f"quadrature, smoothed over {density.width:.2g}, with two standard errors. Marked are the "
        f"outermost eigenvalues with their bounds, at the height of a single one."
    )
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "eigenvalue λ"}},
        "yaxis": {
            "title": {"text": "density"},
            "type": "log",
            "range": [log10(floor), log10(2 * max(high))],
            "dtick": max(1, -(-int(log10(max(high) / floor)) // 6)),
        },
    }
    return Figure(data, layout, caption, f"Spectral density of the {name}")


def _of_ends(name: str, ends: Extremes) -> Figure:
    caption = f"The outermost eigenvalues of the {name}, with their bounds."
    layout: dict[str, Any] = {
        "xaxis": {"title": {"text": "eigenvalue λ"}},
        "yaxis": {"visible": False, "range": [0, 2]},
    }
    return Figure(_outermost(ends, 1.0), layout, caption, f"Outermost eigenvalues of the {name}")


def _outermost(ends: Extremes, height: float) -> list[dict[str, Any]]:
    """A mark at each eigenvalue found, with a bar as wide as its bounds."""
    marks = [
        _marks(ends.top, height, "largest", "triangle-right"),
        _marks(ends.bottom, height, "smallest", "triangle-left"),
    ]
    return [mark for mark in marks if mark["x"]]


def _marks(pairs: EigenPairs, height: float, name: str, symbol: str) -> dict[str, Any]:
    values, bounds = pairs.values.tolist(), pairs.bounds.tolist()
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": values,
        "y": [height] * len(values),
        "marker": {"color": Ink.VERMILION.value, "size": 9, "symbol": symbol},
        "error_x": {
            "type": "data", "symmetric": False, "color": Ink.VERMILION.value, "thickness": 2,
            "array": [max(high - v, 0.0) for v, (_, high) in zip(values, bounds, strict=True)],
            "arrayminus": [max(v - low, 0.0) for v, (low, _) in zip(values, bounds, strict=True)],
        },
        "customdata": bounds,
        "hovertemplate": "%{x:.5g}, between %{customdata[0]:.5g} and %{customdata[1]:.5g}"
        "<extra></extra>",
    }  # fmt: skip


def _symlog(value: float, floor: float) -> float:
    size = abs(value)
    return 0.0 if size <= floor else (1 if value > 0 else -1) * log10(size / floor)
