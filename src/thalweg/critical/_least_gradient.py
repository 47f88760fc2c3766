"""The step that makes the gradient's linear model smallest within a radius."""

from __future__ import annotations

from math import exp, log

import torch
from jaxtyping import Float
from torch import Tensor


def least_gradient_step(
    values: Float[Tensor, " m"], slope: Float[Tensor, " m"], radius: float, rounding: float
) -> tuple[Float[Tensor, " m"], float]:
    """S = argmin ‖c + Λs‖ over ‖s‖ ≤ Δ, in eigenvectors of H, and its damping.

        sᵢ = −λᵢ cᵢ / (λᵢ² + μ),   μ ≥ ρ² the smallest with ‖s‖ ≤ Δ

    Args:
        values: λ (m,).
        slope: c = Vᵀ∇L (m,).
        radius: Δ.
        rounding: ρ: eigenvalues far below it take no part.

    Returns:
        s (m,) and μ.

    Source: Levenberg 1944 and Marquardt 1963 for J = H; Moré 1978, "The Levenberg-Marquardt
    algorithm: implementation and theory", for the radius. We bisect in ln μ.
    """

    def step(damping: float) -> Tensor:
        return -slope * values / (values.square() + damping)

    least = max(rounding**2, 1e-300)
    whole = step(least)
    if float(whole.norm()) <= radius:
        return whole, least
    largest = float(values.abs().max())
    low = log(least)
    high = log(max(largest * float(slope.norm()) / radius + largest**2, least)) + 1
    while high - low > 1e-3:
        middle = (low + high) / 2
        if float(step(exp(middle)).norm()) > radius:
            low = middle
        else:
            high = middle
    return step(exp(high)), exp(high)


def flatness(
    values: Float[Tensor, " m"],
    slope: Float[Tensor, " m"],
    whole_slope: float,
    frobenius: float,
    cut: float,
) -> tuple[float, float]:
    """R and r_H of Newton's step p over the eigenvalues beyond `cut`.

        r = ‖Hp + ∇L‖ / (‖H‖_F ‖p‖ + ‖∇L‖),   r_H = ‖H(Hp + ∇L)‖ / (‖H‖_F ‖Hp + ∇L‖)

    Args:
        values: λ (m,).
        slope: c (m,).
        whole_slope: ‖∇L‖, of which c may be a part.
        frobenius: ‖H‖_F.
        cut: eigenvalues within it count as null.

    Source: Frye et al. 2021, eq. 8 and 9.
    """
    is_kept = values.abs() > cut
    step = torch.where(is_kept, -slope / torch.where(is_kept, values, 1.0), 0.0)
    rest = torch.where(is_kept, 0.0, slope)
    hidden = max(whole_slope**2 - float(slope.square().sum()), 0.0)
    residual = (float(rest.square().sum()) + hidden) ** 0.5
    scale = frobenius * float(step.norm()) + whole_slope
    r = residual / scale if scale else 0.0
    turned = float((values * rest).norm())
    r_h = turned / (frobenius * residual) if frobenius * residual else 0.0
    return r, r_h
