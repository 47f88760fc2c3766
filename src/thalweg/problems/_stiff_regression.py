"""A regression whose last digits are out of reach of methods that go by the gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._draws import as_torch
from thalweg.problems._network import network


def stiff_regression(seed: int = 0) -> Problem:
    """P4 of the races: y = ½ sin 2x + 0.3 sin 5x on [−1, 1] by a network 1-64-64-1, tanh, float64.

    4,353 parameters for 256 points in even steps, mean of squares; the infimum is 0. Dense
    Levenberg–Marquardt gets below 1e-10 in 160 to 280 steps (seeds 0, 1, 2). After some 5,000 steps
    Adam is between 8e-7 and 1e-5 with the best of three learning rates, and L-BFGS with a strong
    Wolfe search between 5e-8 and 9e-7.

    Args:
        seed: of the initialisation, torch's default; the data are always the same.

    Example:
        >>> problem = stiff_regression()
        >>> sum(p.numel() for p in problem.parameters.values()), problem.data[0].dtype
        (4353, torch.float64)
    """
    generator = torch.Generator().manual_seed(seed)
    x = torch.linspace(-1, 1, 256, dtype=torch.float64).unsqueeze(1)
    between = (x[1:] + x[:-1]) / 2
    return Problem(
        network((1, 64, 64, 1), nn.Tanh, as_torch, generator, torch.float64),
        nn.functional.mse_loss,
        (x, _target(x)),
        test=(between, _target(between)),
        optimizer=lambda params: torch.optim.Adam(params, lr=1e-3),
        batch_size=len(x),
        name="stiff regression",
    )


def _target(x: Tensor) -> Tensor:
    return 0.5 * torch.sin(2 * x) + 0.3 * torch.sin(5 * x)
