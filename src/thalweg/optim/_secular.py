"""The secular equation: a quadratic model minimised in a ball, or under a cubic penalty."""

from __future__ import annotations

from collections.abc import Callable
from math import sqrt

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import brentq
from torch import Tensor

Vector = np.ndarray[tuple[int], np.dtype[np.float64]]


def trust_region_step(
    values: Float[Tensor, " k"], slopes: Float[Tensor, " k"], radius: float
) -> Float[Tensor, " k"]:
    """The global minimum of bᵀy + ½ yᵀΛy over ‖y‖ ≤ Δ.

    It is y = −(Λ + μ)⁻¹ b with μ ≥ 0, Λ + μ ⪰ 0 and μ (Δ − ‖y‖) = 0. In the hard case, where b has
    no part along the lowest eigenvector and the rest stays inside the ball, that eigenvector takes
    it to the border; of the two minima the one on its positive side is returned.

    Args:
        values: Λ (k,), ascending [loss/param²].
        slopes: b (k,) [loss/param].
        radius: Δ > 0 [param].

    Returns:
        The step (k,) [param], in float64.

    Cost: some ten to a hundred evaluations of k operations.

    Source: Moré and Sorensen 1983, "Computing a trust region step", lemma 2.1 and sec. 3. The root
    of 1 − Δ/‖y‖, nearly a line as theirs, is found by Brent's method between the bounds that ‖b‖
    gives, and in μ + λ₁, so that nothing cancels near the pole.

    Example:
        >>> import torch
        >>> trust_region_step(torch.tensor([-2.0, 1.0]), torch.tensor([0.0, 3.0]), radius=2.0)
        tensor([ 1.7321, -1.0000], dtype=torch.float64)
    """
    return _solved(values, slopes, lambda s, λ1: radius, lambda b, λ1: b / radius)


def cubic_step(
    values: Float[Tensor, " k"], slopes: Float[Tensor, " k"], weight: float
) -> Float[Tensor, " k"]:
    """The global minimum of bᵀy + ½ yᵀΛy + ⅓ σ‖y‖³.

    It is y = −(Λ + μ)⁻¹ b with μ = σ‖y‖ and Λ + μ ⪰ 0; the hard case as in `trust_region_step`.

    Args:
        values: Λ (k,), ascending [loss/param²].
        slopes: b (k,) [loss/param].
        weight: σ > 0 [loss/param³].

    Returns:
        The step (k,) [param], in float64.

    Cost: some ten to a hundred evaluations of k operations.

    Source: Cartis, Gould and Toint 2011, "Adaptive cubic regularisation methods for unconstrained
    optimization, part I", theorem 3.1 and sec. 6.1; the root by Brent's method.

    Example:
        >>> import torch
        >>> cubic_step(torch.tensor([1.0]), torch.tensor([-2.0]), weight=1.0)
        tensor([1.], dtype=torch.float64)
    """

    def where(b: float, λ1: float) -> float:
        """The root s of b/s = (s − λ₁)/σ, in the form that does not cancel."""
        root = sqrt(λ1**2 + 4 * weight * b)
        return (root + λ1) / 2 if λ1 >= 0 else 2 * weight * b / (root - λ1)

    return _solved(values, slopes, lambda s, λ1: (s - λ1) / weight, where)


def _solved(
    values: Tensor,
    slopes: Tensor,
    length: Callable[[float, float], float],
    where: Callable[[float, float], float],
) -> Tensor:
    """Y(s) = −(Λ − λ₁ + s)⁻¹ b at the least s ≥ 0, λ₁ with ‖y(s)‖ ≤ R(s).

    Args:
        values: Λ.
        slopes: b.
        length: R, of s and λ₁; it does not fall as s grows.
        where: the s at which ‖b‖/s = R(s), of ‖b‖ and λ₁.
    """
    Λ, b = (t.detach().double().cpu().numpy() for t in (values, slopes))
    if not len(Λ):
        return torch.zeros(0, dtype=torch.float64)
    λ1 = float(Λ[0])

    def step(s: float) -> Vector:
        found: Vector = np.divide(-b, Λ - λ1 + s, out=np.zeros_like(b), where=b != 0)
        return found

    def excess(s: float) -> float:
        return 1 - length(s, λ1) / float(np.linalg.norm(step(s)))

    least = max(0.0, λ1)
    flat = Λ - λ1 + least == 0
    if not np.any(b[flat]):
        y = step(least)
        room = length(least, λ1) ** 2 - float(y @ y)
        if room >= 0:
            if λ1 < 0:
                y[0] = sqrt(room)  # where b is 0, and y with it
            return torch.from_numpy(y)
    lowest = float(np.linalg.norm(b[λ1 == Λ]))
    low, high = max(least, where(lowest, λ1)), where(float(np.linalg.norm(b)), λ1)
    if excess(low) <= 0:
        s = low
    elif excess(high) >= 0:
        s = high
    else:
        # What SciPy makes of a function is a cycle: one that is emptied afterwards holds nothing.
        held = [excess]
        s = brentq(
            lambda s: held[0](s), low, high, xtol=1e-300, rtol=4 * np.finfo(float).eps, maxiter=1000
        )
        held.clear()
    return torch.from_numpy(step(s))
