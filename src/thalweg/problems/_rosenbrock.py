"""Rosenbrock's valley."""

from __future__ import annotations

import torch
from torch import Tensor

from thalweg._errors import ProblemError
from thalweg._problem import Problem
from thalweg.problems._function import from_residuals


def rosenbrock(num_parameters: int = 2, seed: int = 0) -> Problem:
    """L(θ) = Σ_i 100 (θ_{i+1} − θ_i²)² + (1 − θ_i)², in float64: a bent valley with a flat floor.

    The minimum is 0 at θ = (1, …, 1); for two parameters the eigenvalues of the Hessian there are
    1001.6 and 0.4. From four parameters on a second, local minimum lies near (−1, 1, …, 1), L ≈ 4.
    As least squares: residuals 10 (θ_{i+1} − θ_i²) and 1 − θ_i.

    Args:
        num_parameters: n ≥ 2.
        seed: of the start, uniform in [−2.048, 2.048]ⁿ.

    Raises:
        ProblemError: if n < 2.

    Source: Rosenbrock 1960, "An automatic method for finding the greatest or least value of a
    function", for n = 2; De Jong 1975 for the range of the start. The chain of n is the common one.

    Example:
        >>> import thalweg
        >>> at_minimum = {"theta": torch.ones(5, dtype=torch.float64)}
        >>> thalweg.Surface(rosenbrock(5)).at(at_minimum).value
        0.0
    """
    if num_parameters < 2:
        raise ProblemError(f"rosenbrock({num_parameters}); give 2 parameters or more")
    generator = torch.Generator().manual_seed(seed)
    start = 4.096 * torch.rand(num_parameters, generator=generator, dtype=torch.float64) - 2.048
    return from_residuals(_residuals, start, f"Rosenbrock's valley in {num_parameters}")


def _residuals(theta: Tensor) -> Tensor:
    return torch.cat([10 * (theta[1:] - theta[:-1] ** 2), 1 - theta[:-1]])
