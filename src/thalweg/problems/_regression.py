"""Functions of one and of two variables, seen with noise, to be fitted by small networks."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg.problems._draws import as_torch
from thalweg.problems._network import network


def one_variable_regression(seed: int = 0) -> Problem:
    """Y = sin x + noise of deviation 0.1, x uniform in [−π, π], by a network 1-20-20-1, tanh.

    100 samples to train on and 100 held out, mean of squares, float32. Nothing that is known of x
    brings the held-out loss below the noise, 0.01 on average; training may go below it: that is
    overfitting. Without x the loss is the variance of y, 0.51 on average.

    Args:
        seed: of initialisation, samples and noise.

    Example:
        >>> problem = one_variable_regression()
        >>> [tuple(t.shape) for t in problem.data]
        [(100, 1), (100, 1)]
    """
    return _problem(1, 100, 0.1, lambda x: torch.sin(x), seed, "regression in one variable")


def two_variable_regression(seed: int = 0) -> Problem:
    """Z = sin x₁ cos x₂ + noise of deviation 0.1, x uniform in [−π, π]², by 2-20-20-1, tanh.

    400 samples to train on and 400 held out, mean of squares, float32. Held out, the least loss is
    the noise, 0.01 on average; without x it is the variance of z, 0.26 on average.

    Args:
        seed: of initialisation, samples and noise.

    Example:
        >>> problem = two_variable_regression()
        >>> [tuple(t.shape) for t in problem.data]
        [(400, 2), (400, 1)]
    """
    return _problem(
        2,
        400,
        0.1,
        lambda x: torch.sin(x[:, :1]) * torch.cos(x[:, 1:]),
        seed,
        "regression in two variables",
    )


def _problem(
    num_variables: int,
    num_samples: int,
    noise: float,
    f: Callable[[Tensor], Tensor],
    seed: int,
    name: str,
) -> Problem:
    generator = torch.Generator().manual_seed(seed)
    size = (2 * num_samples, num_variables)
    x = torch.pi * (2 * torch.rand(size, generator=generator, dtype=torch.float32) - 1)
    y = f(x) + noise * torch.randn((len(x), 1), generator=generator, dtype=torch.float32)
    return Problem(
        network((num_variables, 20, 20, 1), nn.Tanh, as_torch, generator),
        nn.functional.mse_loss,
        (x[:num_samples], y[:num_samples]),
        test=(x[num_samples:], y[num_samples:]),
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=50,
        name=name,
    )
