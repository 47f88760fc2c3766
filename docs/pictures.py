"""Draws the pictures of the method pages with thalweg: `python docs/pictures.py [NAME ...]`.

Small SVGs in docs/methods/pictures, on a transparent ground in colours that can be seen on light
and on dark; words are words, so that they are read and found.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch
from torch import nn

mpl.use("svg")

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

import thalweg
from thalweg import Surface, problems

HERE = Path(__file__).parent / "methods" / "pictures"
BLUE, VERMILION, GREEN, PURPLE, GREY = "#2a8fce", "#e0702a", "#1d9d78", "#c06a9e", "#808890"

plt.rcParams |= {
    "svg.fonttype": "none", "svg.hashsalt": "thalweg", "font.family": "sans-serif",
    "font.size": 10, "figure.figsize": (5.6, 2.7), "savefig.transparent": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": GREY,
    "axes.labelcolor": GREY, "xtick.color": GREY, "ytick.color": GREY, "text.color": GREY,
    "legend.frameon": False, "legend.labelcolor": GREY,
    "axes.prop_cycle": mpl.cycler(color=[BLUE, VERMILION, GREEN, PURPLE, GREY]),
}  # fmt: skip


def seeded() -> torch.Generator:
    """The generator of every picture."""
    return torch.Generator().manual_seed(0)


def eigenvalues(axes: Axes) -> None:
    """Ritz values of growing Krylov spaces close in on the ends of the spectrum."""
    H = Surface(problems.two_spirals()).here().hessian()
    start = torch.randn(H.shape[0], generator=seeded(), dtype=H.dtype)
    run = thalweg.linalg.lanczos(H, start, 30)
    for m in range(1, 31):
        beside = run.betas[: m - 1].diag(1) + run.betas[: m - 1].diag(-1)
        ritz = torch.linalg.eigvalsh(run.alphas[:m].diag() + beside)
        axes.plot([m] * m, ritz, ".", color=BLUE, ms=3)
    axes.set(xlabel="products", ylabel="Ritz values [loss/param²]")


def density(axes: Axes) -> None:
    """The density by quadrature over the histogram of all eigenvalues."""
    H = Surface(problems.two_spirals()).here().hessian()
    found = thalweg.density(H, generator=seeded())
    values = torch.linalg.eigvalsh(H.to_dense())
    axes.hist(values, bins=80, density=True, color=GREY, alpha=0.5, label="all eigenvalues")
    low, high = found.density - 2 * found.stderr, found.density + 2 * found.stderr
    axes.fill_between(found.grid, low.clamp(min=1e-9), high, color=BLUE, alpha=0.25, lw=0)
    axes.plot(found.grid, found.density, color=BLUE, label="quadrature ± 2 standard errors")
    axes.set(xlabel="λ [loss/param²]", ylabel="density", yscale="log", ylim=(1e-3, 1e3))
    axes.legend(fontsize=8)


def critical_point(axes: Axes) -> None:
    """The loss along the lowest eigenvector that the card found, at three places."""
    here = torch.zeros(2, dtype=torch.float64)
    places = {
        "x² + 20y²": problems.from_function(lambda θ: θ[0] ** 2 + 20 * θ[1] ** 2, here),
        "x² − y²": problems.from_function(lambda θ: θ[0] ** 2 - θ[1] ** 2, here),
        "x/5 + x²/50": problems.from_function(lambda θ: 0.2 * θ[0] + 0.02 * θ[0] ** 2, here[:1]),
    }
    reach = torch.linspace(-1, 1, 41)
    for name, problem in places.items():
        surface = Surface(problem)
        point = surface.here()
        card = thalweg.critical_point(point, generator=seeded())
        lowest = card.extremes.bottom.vectors[:, 0]
        names = dict(problem.model.named_parameters())
        sizes = [p.numel() for p in names.values()]
        losses = []
        for t in reach:
            moved = zip(names.items(), (float(t) * lowest).split(sizes), strict=True)
            params = {key: p.detach() + step.view_as(p) for (key, p), step in moved}
            losses.append(surface.at(params).value - point.value)
        axes.plot(reach, losses, label=f"{name}: {card.verdict.value}, r = {card.flatness:.2f}")
    axes.set(xlabel="along the lowest eigenvector [param]", ylabel="L − L(θ) [loss]")
    axes.legend(fontsize=8)


def newton(axes: Axes) -> None:
    """Newton and Levenberg–Marquardt on log cosh x, from where Newton runs away."""
    for name, make in (("Newton", thalweg.optim.Newton),
                       ("Levenberg–Marquardt", thalweg.optim.LevenbergMarquardt)):  # fmt: skip
        x = nn.Parameter(torch.tensor([1.2], dtype=torch.float64))
        method, path = make([x]), [1.2]
        for _ in range(4):
            method.step(lambda x=x: torch.log(torch.cosh(x)).sum())
            path.append(float(x.detach()[0]))
        axes.plot([abs(place) + 1e-12 for place in path], "o-", label=name)
    axes.set(xlabel="step", ylabel="|x| on log cosh x [param]", yscale="log", ylim=(1e-9, 1e3))
    axes.legend()


def saddle_free(axes: Axes) -> None:
    """The paths of Newton and of saddle-free Newton near a saddle."""
    side = torch.linspace(-1.6, 1.6, 80)
    Y, X = torch.meshgrid(side, side, indexing="ij")
    axes.contour(X, Y, X**2 - Y**2 + Y**4 / 4, levels=16, colors=GREY, linewidths=0.6)
    methods = {"Newton": thalweg.optim.Newton, "saddle-free Newton": thalweg.optim.SaddleFreeNewton}
    for name, make in methods.items():
        θ = nn.Parameter(torch.tensor([0.15, 1.3], dtype=torch.float64))
        method, path = make([θ]), [θ.detach().clone()]
        for _ in range(6):
            method.step(lambda θ=θ: θ[1] ** 2 - θ[0] ** 2 + θ[0] ** 4 / 4)
            path.append(θ.detach().clone())
        places = torch.stack(path)
        axes.plot(places[:, 1], places[:, 0], "o-", ms=4, label=name)
    axes.set(xlabel="up: x [param]", ylabel="down: y [param]", xlim=(-1.6, 1.6), ylim=(-1.6, 1.6))
    axes.legend(loc="upper left", fontsize=8)


def escape(axes: Axes) -> None:
    """Steps until out by the distance of the start."""
    point = Surface(problems.strict_saddle()).here()
    found = thalweg.escape(point, generator=seeded())
    for method in found.methods:
        runs = [run for run in found.of(method) if run.escaped_at is not None]
        if runs:
            axes.plot([r.distance for r in runs], [r.escaped_at for r in runs], "o-", ms=4,
                      label=method)  # fmt: skip
    axes.set(xscale="log", yscale="log", xlabel="distance from the saddle [param]",
             ylabel="steps until out")  # fmt: skip
    axes.legend(fontsize=7, loc="upper right")


def find_critical(axes: Axes) -> None:
    """Index against loss at the critical points of a linear autoencoder."""
    problem = problems.linear_autoencoder((4.0, 3.0, 2.0, 1.0), 2)
    found = thalweg.find_critical(problem, 16, generator=seeded())
    certified = [point for point in found.points if point.is_certified]
    axes.plot([p.value for p in certified], [p.index for p in certified], "o", color=BLUE)
    axes.set(xlabel="loss at the certified point [loss]", ylabel="index")


def flow(axes: Axes) -> None:
    """Gradient flow and gradient descent below and above 2/λ_max."""
    from thalweg.gradient_flow import gradient_descent

    methods = [gradient_descent(0.04), gradient_descent(0.098)]
    found = thalweg.flow(problems.quadratic((1.0, 20.0)), 2.0, discrete=methods)
    axes.plot([r.time for r in found.readings], [r.value for r in found.readings], color=GREY,
              lw=2, label="flow")  # fmt: skip
    for path in found.discrete:
        axes.plot(path.times, path.values, ".-", label=path.said)
    axes.set(xlabel="time [param²/loss]", ylabel="loss")
    axes.legend()


def landscape(axes: Axes) -> None:
    """The loss along its two sharpest directions."""
    seen = thalweg.landscape(
        Surface(problems.two_spirals()).here(), generator=seeded(), num_cells=41
    )
    x, y = seen.ticks
    drawn = axes.contourf(x, y, seen.values.T.log(), levels=18, cmap="cividis")
    axes.figure.colorbar(drawn, label="log loss")
    axes.plot([0], [0], "D", color="white", ms=4)
    axes.set(xlabel=f"{seen.axes[0].name} [param]", ylabel=f"{seen.axes[1].name} [param]")


def signal(axes: Axes) -> None:
    """Gradient norm by layer of ten sigmoid layers, measured and predicted."""
    found = thalweg.signal.Signal.of(thalweg.Pass.of(problems.deep_sigmoid_digits(depth=10)))
    layers = range(1, len(found.rows) + 1)
    axes.plot(layers, [row.gradient_norm for row in found.rows], "o-", label="measured")
    axes.plot(layers, [row.predicted_gradient_norm for row in found.rows], "--", color=GREY,
              label="mean field")  # fmt: skip
    axes.set(xlabel="layer", ylabel="‖∂L/∂z‖ [loss/output]", yscale="log")
    axes.legend()


def sums(axes: Axes) -> None:
    """The error of the trace against the standard error that it reports."""
    H = Surface(problems.two_spirals()).here().hessian()
    exact = float(H.to_dense().trace())
    products, errors, told = [], [], []
    for m in (6, 12, 24, 48, 96):
        runs = [
            thalweg.trace(H, num_products=m, generator=torch.Generator().manual_seed(i))
            for i in range(8)
        ]
        products.append(m)
        errors.append((sum((run.value - exact) ** 2 for run in runs) / 8) ** 0.5)
        told.append(sum(run.stderr for run in runs) / 8)
    axes.plot(products, errors, "o-", label="error, 8 seeds")
    axes.plot(products, told, "s--", label="standard error reported")
    axes.set(xscale="log", yscale="log", xlabel="products", ylabel="trace [loss/param²]")
    axes.legend()


PICTURES: dict[str, Callable[[Axes], None]] = {
    "eigenvalues": eigenvalues, "density": density, "critical-point": critical_point,
    "sums": sums, "newton": newton, "saddle-free": saddle_free, "escape": escape,
    "find-critical": find_critical, "flow": flow, "landscape": landscape, "signal": signal,
}  # fmt: skip


def draw(name: str) -> Path:
    """Draws one picture and writes it."""
    torch.manual_seed(0)
    figure, axes = plt.subplots(layout="constrained")
    PICTURES[name](axes)
    path = HERE / f"{name}.svg"
    HERE.mkdir(exist_ok=True)
    figure.savefig(path, metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return path


if __name__ == "__main__":
    for name in sys.argv[1:] or PICTURES:
        path = draw(name)
        print(f"{path.name:24} {path.stat().st_size:8,} bytes")
