"""Digits pooled to 4×4, and networks on them small enough for every eigenvalue."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg.problems._digits import digits
from thalweg.problems._draws import as_torch
from thalweg.problems._network import network


def pooled_digits(num_samples: int | None = None) -> tuple[Tensor, Tensor]:
    """The training digits averaged over 2×2 pixels, of zero mean and unit deviation, in float64.

    Args:
        num_samples: the first so many; all 1,437 when left out.

    Returns:
        x (N, 16), y (N,).

    Raises:
        ProblemError: if there are not so many.

    Example:
        >>> x, y = pooled_digits(100)
        >>> x.shape, round(float(pooled_digits()[0].std()), 12)
        (torch.Size([100, 16]), 1.0)
    """
    (x, y), _ = digits()
    if num_samples is not None and not 1 <= num_samples <= len(x):
        raise ProblemError(
            f"pooled_digits({num_samples}): there are {len(x):,} digits to train on; give a number "
            f"from 1 to that"
        )
    pooled = x.double().reshape(-1, 4, 2, 4, 2).mean((2, 4)).reshape(-1, 16)
    pooled = (pooled - pooled.mean()) / pooled.std()
    return pooled[:num_samples], y[:num_samples]


def swish_autoencoder(num_samples: int | None = None, seed: int = 0) -> Problem:
    """A network 16-8-16-16 that reproduces digits pooled to 4×4, swish between layers, in float64.

    552 parameters; the loss is the mean square over pixels and images.

    Args:
        num_samples: the first so many digits; all when left out.
        seed: of the initialisation, torch's default.

    Example:
        >>> sum(p.numel() for p in swish_autoencoder(100).parameters.values())
        552

    Source: Frye et al. 2021, "Critical point-finding methods reveal gradient-flat regions of deep
    network losses", section 4, which pools MNIST to 4×4; here digits of `digits`.
    """
    x, _ = pooled_digits(num_samples)
    generator = torch.Generator().manual_seed(seed)
    return _problem(
        network((16, 8, 16, 16), nn.SiLU, as_torch, generator, torch.float64), x, x,
        "swish autoencoder",
    )  # fmt: skip


def pooled_classifier(
    num_hidden: int = 5, num_samples: int | None = None, seed: int = 0
) -> Problem:
    """A network 16-h-10, tanh, that tells digits pooled to 4×4 apart, in float64.

    The loss is the mean square of the output less the class as a unit vector: unlike cross-entropy
    it has minima at finite weights, also where the classes can be separated. 27h + 10 parameters.

    Args:
        num_hidden: h, units in the hidden layer.
        num_samples: the first so many digits; all when left out.
        seed: of the initialisation, torch's default.

    Raises:
        ProblemError: if there is no hidden unit.

    Example:
        >>> sum(p.numel() for p in pooled_classifier(25, 100).parameters.values())
        685

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", section 3, for one hidden layer on small digits.
    """
    if num_hidden < 1:
        raise ProblemError(f"pooled_classifier({num_hidden}); give at least one hidden unit")
    x, y = pooled_digits(num_samples)
    generator = torch.Generator().manual_seed(seed)
    return _problem(
        network((16, num_hidden, 10), nn.Tanh, as_torch, generator, torch.float64),
        x,
        nn.functional.one_hot(y, 10).double(),
        f"digits, {num_hidden} hidden units",
    )


def _problem(model: nn.Module, x: Tensor, y: Tensor, name: str) -> Problem:
    return Problem(
        model,
        nn.functional.mse_loss,
        (x, y),
        optimizer=lambda params: torch.optim.Adam(params, lr=0.01),
        batch_size=len(x),
        name=name,
    )
