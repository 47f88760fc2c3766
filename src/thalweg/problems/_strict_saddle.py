"""The simplest saddle with somewhere to go from it."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg._problem import Problem
from thalweg.problems._function import from_function


def strict_saddle(seed: int = 0) -> Problem:
    """L(x, y) = x² − y² + y⁴/4, from x = 1 and y ~ N(0, (1e-3)²), in float64.

    A saddle at the origin, L = 0, Hessian diag(2, −2); two minima at (0, ±√2), L = −1, Hessian
    diag(2, 4). Newton's method is drawn to the saddle; gradient descent leaves it in about
    ln(1/|y|)/2lr steps; saddle-free Newton lands near a minimum by dividing by |λ|.

    Args:
        seed: of the start.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", figure 1, for x² − y²; bounded from below by us.

    Example:
        >>> import thalweg
        >>> origin = {"theta": torch.zeros(2, dtype=torch.float64)}
        >>> thalweg.Surface(strict_saddle()).at(origin).hessian().to_dense().tolist()
        [[2.0, 0.0], [0.0, -2.0]]
    """
    generator = torch.Generator().manual_seed(seed)
    y = 1e-3 * torch.randn((), generator=generator, dtype=torch.float64)
    return from_function(_value, torch.stack([torch.ones_like(y), y]), "strict saddle")


def _value(theta: Tensor) -> Tensor:
    x, y = theta.unbind()
    value: Tensor = x**2 - y**2 + y**4 / 4
    return value
