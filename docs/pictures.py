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


def first_order(axes: Axes) -> None:
    """The four first-order methods in a valley a hundred times as long as it is wide."""
    methods = {
        "gradient descent": lambda w: thalweg.optim.GradientDescent(w, lr=0.018),
        "heavy ball": lambda w: thalweg.optim.HeavyBall(w, lr=0.018, momentum=0.8),
        "Nesterov": lambda w: thalweg.optim.Nesterov(w, lr=0.009, momentum=0.8),
        "Adam": lambda w: thalweg.optim.Adam(w, lr=0.05),
    }
    curvature = torch.tensor([1.0, 100.0], dtype=torch.float64)
    for name, make in methods.items():
        w = nn.Parameter(torch.tensor([3.0, 0.3], dtype=torch.float64))
        method = make([w])
        losses = [
            float(method.step(lambda w=w: 0.5 * (curvature * w**2).sum())) for _ in range(150)
        ]
        axes.plot(losses, label=name)
    axes.set(xlabel="step", ylabel="½ (x² + 100 y²) [loss]", yscale="log")
    axes.legend(fontsize=8)


def metrics(axes: Axes) -> None:
    """The same trust region, its steps measured in three metrics."""
    made = {
        "identity": lambda model: thalweg.optim.Identity(),
        "diagonal": lambda model: thalweg.optim.Diagonal(),
        "K-FAC": lambda model: thalweg.optim.KFAC(model),
    }
    for name, metric in made.items():
        problem = problems.relu_digits()
        method = thalweg.optim.TrustRegion(
            problem.model.parameters(),
            metric=metric(problem.model),
            subspace=thalweg.optim.Krylov(8),
        )
        method.bind(problem.model, problem.loss, problem.data)
        axes.plot([float(method.step()) for _ in range(30)], label=name)
    axes.set(xlabel="step of eight products", ylabel="training loss [nats]", yscale="log")
    axes.legend(fontsize=8)


def trust_region(axes: Axes) -> None:
    """Paths in Rosenbrock's valley: what the radius does to the first steps."""
    X, Y = torch.meshgrid(torch.linspace(-1.7, 1.5, 160), torch.linspace(-0.8, 2.4, 160),
                          indexing="xy")  # fmt: skip
    height = (1 - X) ** 2 + 100 * (Y - X**2) ** 2
    axes.contour(X, Y, height.log1p(), levels=14, colors=GREY, linewidths=0.5)
    methods = {
        "Newton": thalweg.optim.Newton,
        "trust region": thalweg.optim.TrustRegion,
        "cubic model": thalweg.optim.CubicRegularisation,
    }
    for name, make in methods.items():
        θ = nn.Parameter(torch.tensor([-1.2, 1.0], dtype=torch.float64))
        method = make([θ]) if name == "Newton" else make([θ], subspace=thalweg.optim.Whole())
        path = [θ.detach().clone()]
        for _ in range(40):
            method.step(lambda θ=θ: (1 - θ[0]) ** 2 + 100 * (θ[1] - θ[0] ** 2) ** 2)
            path.append(θ.detach().clone())
        places = torch.stack(path)
        axes.plot(places[:, 0], places[:, 1], "o-", ms=3, lw=1, label=name)
    axes.plot([1], [1], "*", color=PURPLE, ms=10)
    axes.set(xlabel="x [param]", ylabel="y [param]", xlim=(-1.7, 2.6), ylim=(-0.8, 2.4))
    axes.legend(fontsize=8, loc="center right")


def race(axes: Axes) -> None:
    """Training loss by gradients spent, three seeds of each optimizer."""
    found = thalweg.compare(
        problems.stiff_regression(), ["adam", "lbfgs", "newton-cg"], budget="300g", trials=2
    )
    for entry, color in zip(found.entries, (BLUE, VERMILION, GREEN), strict=True):
        for i, trial in enumerate(entry.trials):
            axes.plot(
                [mark.gradients for mark in trial.marks], [mark.loss for mark in trial.marks],
                color=color, lw=1, label=entry.name if i == 0 else None,
            )  # fmt: skip
    axes.set(xlabel="work [gradients over all data]", ylabel="training loss [loss]", yscale="log")
    axes.legend(fontsize=8)


def doctor(axes: Axes) -> None:
    """Training as it is, and with the remedy that was proved, on the same seeds."""
    found = thalweg.examine(problems.deep_sigmoid_digits(depth=6, width=32), budget="2500g")
    best = found.proved[0]
    for name, runs, color in (("as it is", found.control, GREY), (best.name, best.runs, BLUE)):
        for i, run in enumerate(runs):
            axes.plot(run.steps, run.losses, color=color, lw=1.2, label=name if i == 0 else None)
    axes.set(xlabel="step", ylabel="training loss [nats]", ylim=(0, None))
    axes.legend(fontsize=8)


def worked(axes: Axes) -> None:
    """∂L/∂w of each weight in a chain of five, with each activation that the sheet tried."""
    lines = ["x = 1; y = 0"]
    for i in range(1, 6):
        lines.append(f"w{i} = 0.9; h{i} = sigmoid(w{i} * {f'h{i - 1}' if i > 1 else 'x'})")
    sheet = thalweg.worked("\n".join([*lines, "L = 1/2 (h5 - y)^2"]))
    weights = [f"w_{i}" for i in range(1, 6)]
    runs = {"sigmoid": {name: sheet.graph[name].gradient for name in weights}}
    runs |= {other.activation: other.gradients for other in sheet.alternatives}
    for name, gradients in runs.items():
        axes.plot(range(1, 6), [abs(float(gradients[w])) for w in weights], "o-", label=name)
    axes.set(xlabel="weight wₗ of layer l", ylabel="|∂L/∂wₗ| [loss/param]", yscale="log",
             xticks=range(1, 6))  # fmt: skip
    axes.legend(fontsize=8)


def check(axes: Axes) -> None:
    """What stands on a page against the exact values: right, wrong, and carried on."""
    network = "x = 1.5; w = 0.8; v = 2; y = 1; z = w x; h = sigmoid(z); o = v h; L = 1/2 (o - y)^2"
    page = (
        "$z = 0.8 \\cdot 1.5 = 1.200$\n\n$h = \\sigma(z) = 0.769$\n\n$o = 2 h = 1.638$\n\n"
        "$L = \\frac12 (o - 1)^2 = 0.2035$\n"
    )
    exact = thalweg.worked(network).graph
    colors = {"ok": GREEN, "wrong": VERMILION, "carried": PURPLE}
    said = {"ok": "right", "wrong": "wrong: a slip in the digits", "carried": "carried on"}
    seen: set[str] = set()
    for step in thalweg.check(page, network).steps:
        try:
            shown = float(step.claimed)
        except ValueError:
            continue
        true, verdict = float(exact[step.subject].value), str(step.verdict)
        half = 0.5 * 10.0 ** -len(step.claimed.partition(".")[2])
        axes.errorbar([step.subject], [shown - true], yerr=half, fmt="o", color=colors[verdict],
                      capsize=5, label=None if verdict in seen else said[verdict])  # fmt: skip
        seen.add(verdict)
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set_yscale("symlog", linthresh=1e-4)
    axes.set(xlabel="quantity, in the order of the page", ylabel="shown − exact", ylim=(-1, 1))
    axes.legend(fontsize=8, loc="lower right")


def derive(axes: Axes) -> None:
    """A function, and its Taylor polynomials as they were derived."""
    places = torch.linspace(-6, 6, 121, dtype=torch.float64)
    axes.plot(places, torch.sigmoid(places), color=GREY, lw=3, alpha=0.6, label="σ(x)")
    for order in (1, 3, 5):
        polynomial = thalweg.derive("σ(x)", order=order)["Taylor"].formula.text
        values = [
            float(thalweg.worked(f"x = {float(x)}; y = {polynomial}").graph["y"].value)
            for x in places
        ]
        axes.plot(places, values, label=f"order {order}")
    axes.set(xlabel="x", ylabel="value", ylim=(-0.6, 1.6))
    axes.legend(fontsize=8, loc="lower right")


PICTURES: dict[str, Callable[[Axes], None]] = {
    "eigenvalues": eigenvalues, "density": density, "critical-point": critical_point,
    "sums": sums, "newton": newton, "saddle-free": saddle_free, "escape": escape,
    "find-critical": find_critical, "flow": flow, "landscape": landscape, "signal": signal,
    "first-order": first_order, "metrics": metrics, "trust-region": trust_region, "race": race,
    "doctor": doctor, "worked": worked, "check": check, "derive": derive,
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
