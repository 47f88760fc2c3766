"""What the package pytorch-optimizer brings, with its peculiarities said."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import nn

from thalweg.race.contenders._contender import Contender
from thalweg.race.contenders._gradient import GradientContender
from thalweg.race.contenders._torch_optim import DESCENT_RATES, scheduled

PACKAGE = "pytorch-optimizer"

PROBES = (
    "Up to version 3.9 of pytorch-optimizer its Rademacher probes for the Hessian's diagonal were "
    "all −1 (randint_like(p, 0, 1) is always 0), so that what it took for the diagonal were row "
    "sums; the version here draws both signs."
)


def _made(name: str, params: list[nn.Parameter], **settings: Any) -> torch.optim.Optimizer:
    made: torch.optim.Optimizer = getattr(import_module("pytorch_optimizer"), name)(
        params, **settings
    )
    return made


PYTORCH_OPTIMIZER: dict[str, Contender] = {
    "soap": GradientContender(
        "SOAP of pytorch-optimizer",
        # Its default weight decay of 0.01 would keep it from small training losses.
        lambda params, lr: _made("SOAP", params, lr=lr, weight_decay=0.0),
        scheduled((3e-3, 1e-2, 1e-3, 3e-2, 3e-4, 1e-1)),
        package=PACKAGE,
        note="Its first step moves nothing; its basis is renewed every 10 steps, by a QR in "
        "float32 whatever the model's dtype. That work is in the seconds alone.",
    ),
    "shampoo": GradientContender(
        "ScalableShampoo of pytorch-optimizer",
        # By default it preconditions from step 25 on and renews its roots every 1,000 steps.
        lambda params, lr: _made(
            "ScalableShampoo",
            params,
            lr=lr,
            start_preconditioning_step=10,
            preconditioning_compute_steps=10,
        ),
        scheduled(DESCENT_RATES),
        package=PACKAGE,
        note="Roots renewed every 10 steps; that work is in the seconds alone.",
    ),
    "adahessian": GradientContender(
        "AdaHessian of pytorch-optimizer",
        lambda params, lr: _made("AdaHessian", params, lr=lr),
        scheduled((0.1, 0.03, 0.3, 0.01, 1.0, 0.003)),
        package=PACKAGE,
        products=lambda number: 1,
        note=f"A product with the Hessian at every step, counted. {PROBES}",
    ),
    "sophia": GradientContender(
        "SophiaH of pytorch-optimizer",
        lambda params, lr: _made("SophiaH", params, lr=lr),
        scheduled((0.06, 0.02, 0.2, 0.006, 0.6, 0.002)),
        package=PACKAGE,
        products=lambda number: int(number % 10 == 0),
        note="A product with the Hessian every tenth step, counted; its probes are Gaussian.",
    ),
}
"""By the names that are typed."""
