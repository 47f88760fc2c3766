"""Functions of a few numbers whose critical points are written down in a line each."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg.problems._function import from_function


def quadratic_saddle() -> Problem:
    """L(x, y) = x² − y², from (1, ½), in float64.

    One critical point, the origin, L = 0, Hessian diag(2, −2), index 1. Nothing bounds the loss
    below: what descends runs away.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", figure 1a.

    Example:
        >>> import thalweg
        >>> thalweg.Surface(quadratic_saddle()).here().gradient_vector.tolist()
        [2.0, -1.0]
    """
    start = torch.tensor([1.0, 0.5], dtype=torch.float64)
    return from_function(_difference_of_squares, start, "x² − y²")


def monkey_saddle() -> Problem:
    """L(x, y) = x³ − 3xy², from (1, ½), in float64.

    One critical point, the origin, where the Hessian vanishes altogether: no index tells its kind.
    Newton's method comes to it by halves, since ∇L is of second order there.

    Source: Dauphin et al. 2014, figure 1b.

    Example:
        >>> import thalweg
        >>> thalweg.Surface(monkey_saddle()).here().value
        0.25
    """
    return from_function(_monkey, torch.tensor([1.0, 0.5], dtype=torch.float64), "monkey saddle")


def phase_retrieval(num_unknowns: int = 5, seed: int = 0) -> Problem:
    """L(θ) = ¼ E[((aᵀθ)² − (aᵀs)²)²] for a ~ N(0, I): a signal s known but for its sign, float64.

        L = ¼ (3‖θ‖⁴ + 3‖s‖⁴ − 2‖θ‖²‖s‖² − 4(θᵀs)²),   s = e₁

    Critical points: θ = ±s, L = 0, minima; θ = 0, L = ¾, where all n directions curve down;
    and the sphere θ ⟂ s, ‖θ‖² = ⅓, L = ⅔, of index 1 with n − 2 null directions.

    Args:
        num_unknowns: n, at least 2.
        seed: of the start, θ ~ N(0, I/n).

    Raises:
        ProblemError: if there are fewer than two unknowns.

    Source: Sun, Qu and Wright 2018, "A geometric analysis of phase retrieval", section 2, for the
    expectation over real Gaussian measurements.

    Example:
        >>> import thalweg
        >>> signal = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64)
        >>> thalweg.Surface(phase_retrieval(3)).at({"theta": signal}).value
        0.0
    """
    if num_unknowns < 2:
        raise ProblemError(f"phase_retrieval({num_unknowns}); give at least two unknowns")
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(num_unknowns, generator=generator, dtype=torch.float64)
    return from_function(_expected_phase_loss, start / num_unknowns**0.5, "phase retrieval")


def _difference_of_squares(theta: Tensor) -> Tensor:
    x, y = theta.unbind()
    value: Tensor = x**2 - y**2
    return value


def _monkey(theta: Tensor) -> Tensor:
    x, y = theta.unbind()
    value: Tensor = x**3 - 3 * x * y**2
    return value


def _expected_phase_loss(theta: Tensor) -> Tensor:
    square = theta.square().sum()
    value: Tensor = (3 * square**2 + 3 - 2 * square - 4 * theta[0] ** 2) / 4
    return value
