"""The optimizers of thalweg.optim, as one table: a new one is one line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from torch import nn

from thalweg import optim
from thalweg.race.contenders._contender import Contender, grid
from thalweg.race.contenders._surface import SurfaceContender

RADII = (1.0, 0.1, 10.0, 0.01, 100.0, 1e-3)
DAMPINGS = (1e-3, 1e-1, 1e-2, 1e-4, 1.0, 10.0)

Params = Iterable[nn.Parameter]

_DENSE = "It writes the whole Hessian out: n products a step, 3n² numbers."


def _measured(kind: Callable[..., Any], said: str) -> SurfaceContender:
    """A first-order method that also reads the loss after its step, for the record."""
    return SurfaceContender(
        f"thalweg.optim.{said}, with a record of each step",
        lambda params, lr: kind(params, lr=lr, measured=True),
        grid("lr", (0.1, 0.03, 0.3, 0.01, 1.0, 0.003)),
        note="Its record takes a product and a forward pass at every step, counted: sgd and "
        "momentum, which are torch's, take the same steps for less.",
    )


def _own(name: str, argument: str, values: Sequence[float], note: str = "") -> SurfaceContender:
    kind: Callable[..., Any] = getattr(optim, name)
    return SurfaceContender(f"thalweg.optim.{name}", kind, grid(argument, values), note=note)


OWN: dict[str, Contender] = {
    "saddle-free": _own(
        "SaddleFreeNewton",
        "refresh_every",
        (1, 3, 10, 5, 20, 30),
        "It tunes itself. Not for minibatches, whose noise its Krylov space fits.",
    ),
    "stochastic-newton": SurfaceContender(
        "thalweg.optim.StochasticNewton",
        optim.StochasticNewton,
        grid("damping", (1e3, 1e2, 1e4, 10.0, 1e5, 1.0), batch_growth=1.003, batch_most=0.1),
        note="Minibatches grow by 0.3 % a step, up to a tenth of the data.",
    ),
    "gradient-descent": _measured(optim.GradientDescent, "GradientDescent"),
    "heavy-ball": _measured(optim.HeavyBall, "HeavyBall, β = 0.9"),
    "newton": _own("Newton", "lr", (1.0, 0.5, 0.2, 0.1, 0.05, 0.01), _DENSE),
    "levenberg-marquardt": _own("LevenbergMarquardt", "damping", DAMPINGS, _DENSE),
    "newton-cg": _own("NewtonCG", "max_products", (50, 10, 20, 100, 5, 200)),
    "trust-region": _own("TrustRegion", "radius", RADII),
    "trust-region-cg": _own("TrustRegionCG", "radius", RADII),
    "cubic-regularisation": _own("CubicRegularisation", "weight", RADII),
    "saddle-free-dense": _own("DenseSaddleFreeNewton", "damping", DAMPINGS, _DENSE),
}
"""By the names that are typed."""
