"""All optimizers of the room in one table, and small networks to descend with them."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from problems import draw
from thalweg.optim import (
    Adam,
    CubicRegularisation,
    DenseSaddleFreeNewton,
    FirstOrder,
    GradientDescent,
    HeavyBall,
    Krylov,
    LevenbergMarquardt,
    Nesterov,
    Newton,
    NewtonCG,
    RecordedOptimizer,
    SaddleFreeNewton,
    TrustRegion,
    TrustRegionCG,
    Whole,
)
from thalweg.surface import HESSIAN

OPTIMIZERS: dict[str, Callable[..., RecordedOptimizer]] = {
    "gradient descent": lambda p, lr=0.05, **s: GradientDescent(p, lr, **s),
    "heavy ball": lambda p, lr=0.05, **s: HeavyBall(p, lr, **s),
    "Nesterov": lambda p, lr=0.05, **s: Nesterov(p, lr, **s),
    "Adam": lambda p, lr=0.05, **s: Adam(p, lr, **s),
    "measured Adam": lambda p, lr=0.05, **s: Adam(p, lr, measured=True, **s),
    "Newton": Newton,
    "Levenberg-Marquardt": LevenbergMarquardt,
    "Newton-CG": NewtonCG,
    "trust region": lambda p, lr=1.0, **s: TrustRegion(p, lr, subspace=Krylov(5), **s),
    "dense trust region": lambda p, lr=1.0, **s: TrustRegion(p, lr, subspace=Whole(), **s),
    "trust region CG": TrustRegionCG,
    "cubic": lambda p, lr=1.0, **s: CubicRegularisation(p, lr, subspace=Krylov(5), **s),
    "dense cubic": lambda p, lr=1.0, **s: CubicRegularisation(p, lr, subspace=Whole(), **s),
    "dense saddle-free": DenseSaddleFreeNewton,
    "saddle-free": SaddleFreeNewton,
}
"""Each takes parameters or groups, `lr` and `maximize`. A new optimizer is one line here."""


CLOSURE_VIEW: dict[str, dict[str, object]] = {"saddle-free": {"curvature": HESSIAN}}
"""With which settings a loss that was bound is seen as one that comes as a closure, whose output is
not known: saddle-free Newton looks at squares from their residuals where it can.
"""


def is_plain(name: str) -> bool:
    """Whether it goes down a gradient, and looks at no loss."""
    optimizer = OPTIMIZERS[name]([nn.Parameter(torch.ones(1))])
    return isinstance(optimizer, FirstOrder) and not optimizer.measured


PLAIN = [name for name in OPTIMIZERS if is_plain(name)]
LOOKING = [name for name in OPTIMIZERS if name not in PLAIN]
"""These evaluate the loss themselves, and again after their step."""


def network(seed: int = 0) -> nn.Sequential:
    """2-2-1 tanh, 9 parameters, float64; its inputs and targets are those of `data`."""
    model = nn.Sequential(nn.Linear(2, 2), nn.Tanh(), nn.Linear(2, 1)).double()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(0.5 * torch.randn(p.shape, generator=generator, dtype=torch.float64))
    return model


def data() -> tuple[Tensor, Tensor]:
    """Seven samples that no network of this size fits."""
    return draw(7, 2), draw(7, 1, seed=1)


def loss_of(model: nn.Module) -> Callable[[], Tensor]:
    """The closure that a user writes."""
    x, y = data()
    return lambda: F.mse_loss(model(x), y)


def flat(model: nn.Module) -> Tensor:
    """All parameters as one vector, a copy."""
    return torch.cat([p.detach().reshape(-1).clone() for p in model.parameters()])


def descend(name: str, model: nn.Module, num_steps: int, **settings: object) -> RecordedOptimizer:
    """Takes some steps."""
    optimizer = OPTIMIZERS[name](model.parameters(), **settings)
    for _ in range(num_steps):
        optimizer.step(loss_of(model))
    return optimizer
