"""Ten tanh layers of twenty units on digits, whose gradient vanishes on the way to the first."""

from __future__ import annotations

import torch
from torch import nn

from thalweg._problem import Problem
from thalweg.problems._digits import standardised_digits
from thalweg.problems._draws import by_fan_in
from thalweg.problems._network import network


def deep_tanh_digits(seed: int = 0) -> Problem:
    """P2 of the races: digits by a network 64-20×10-10, tanh, from weights N(0, (0.5)²/fan_in).

    5,290 parameters, full batch, float32, biases 0. Every layer halves the signal and the gradient,
    so that the start is a plateau at ln 10 = 2.303; races end at 1e-4.

    Args:
        seed: of the initialisation; the split of the data is always the same.

    Example:
        >>> sum(p.numel() for p in deep_tanh_digits().parameters.values())
        5290
    """
    return _problem(0.5, seed, "deep tanh digits")


def vanishing_tanh_digits(seed: int = 0) -> Problem:
    """P2h of the races: `deep_tanh_digits` from weights N(0, (0.25)²/fan_in); races end at 1e-2.

    The gradient in the first layer's weights has a norm of 0.8e-6 to 1.3e-6 at the start (seeds 0,
    1, 2), and the loss differs from ln 10 in its last digits only.

    Args:
        seed: of the initialisation; the split of the data is always the same.

    Example:
        >>> import thalweg
        >>> gradient = thalweg.Surface(vanishing_tanh_digits()).here().gradient
        >>> bool(gradient["0.weight"].norm() < 1e-5)
        True
    """
    return _problem(0.25, seed, "vanishing tanh digits")


def _problem(scale: float, seed: int, name: str) -> Problem:
    train, test = standardised_digits()
    sizes = (64, *[20] * 10, 10)
    return Problem(
        network(sizes, nn.Tanh, by_fan_in(scale), torch.Generator().manual_seed(seed)),
        nn.functional.cross_entropy,
        train,
        test=test,
        optimizer=lambda params: torch.optim.Adam(params, lr=1e-3),
        batch_size=len(train[0]),
        name=name,
    )
