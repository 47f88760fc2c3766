"""What torch.optim brings."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from thalweg.race._trial import Setting
from thalweg.race.contenders._closure import ClosureContender
from thalweg.race.contenders._contender import Contender, grid
from thalweg.race.contenders._gradient import GradientContender

DESCENT_RATES = (0.1, 0.03, 0.3, 0.01, 1.0, 0.003)
"""Of methods whose step is proportional to the gradient."""

ADAPTIVE_RATES = (1e-3, 3e-3, 1e-2, 3e-4, 3e-2, 1e-4)
"""Of methods whose step has a size of its own."""


def scheduled(rates: Sequence[float]) -> tuple[Setting, ...]:
    """Each rate held, then each with a cosine decay over the budget."""
    return (*grid("lr", rates), *grid("lr", rates, schedule="cosine"))


def _sgd(momentum: float, is_nesterov: bool = False) -> GradientContender:
    names = {0.0: "gradient descent", 0.9: "heavy ball β = 0.9"}
    return GradientContender(
        f"torch.optim.SGD, {'Nesterov β = 0.9' if is_nesterov else names[momentum]}",
        lambda params, lr: torch.optim.SGD(params, lr=lr, momentum=momentum, nesterov=is_nesterov),
        scheduled(DESCENT_RATES),
    )


TORCH: dict[str, Contender] = {
    "sgd": _sgd(0.0),
    "momentum": _sgd(0.9),
    "nesterov": _sgd(0.9, is_nesterov=True),
    "adam": GradientContender(
        "torch.optim.Adam",
        lambda params, lr: torch.optim.Adam(params, lr=lr),
        scheduled(ADAPTIVE_RATES),
    ),
    "adamw": GradientContender(
        "torch.optim.AdamW, weight decay 0.01",
        lambda params, lr: torch.optim.AdamW(params, lr=lr),
        scheduled(ADAPTIVE_RATES),
    ),
    "rmsprop": GradientContender(
        "torch.optim.RMSprop",
        lambda params, lr: torch.optim.RMSprop(params, lr=lr),
        scheduled(ADAPTIVE_RATES),
    ),
    "lbfgs": ClosureContender(
        "torch.optim.LBFGS, strong Wolfe line search",
        lambda params, lr, history_size: torch.optim.LBFGS(
            params,
            lr=lr,
            history_size=history_size,
            line_search_fn="strong_wolfe",
            tolerance_grad=0.0,
            tolerance_change=0.0,
        ),
        (
            *grid("history_size", (10, 100, 30, 5), lr=1.0),
            *grid("history_size", (10, 100), lr=0.1),
        ),
    ),
}
"""By the names that are typed."""

if hasattr(torch.optim, "Muon"):  # since torch 2.9
    from thalweg.race.contenders._muon import muon

    TORCH["muon"] = GradientContender(
        "torch.optim.Muon on matrices, Adam on the rest",
        muon,
        scheduled((3e-3, 1e-2, 1e-3, 3e-2, 3e-4, 1e-1)),
        note="Muon orthogonalises in bfloat16, whatever the model's dtype, but on processors that "
        "only emulate it.",
    )
