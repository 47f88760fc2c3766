"""Saddle-free Newton: along each eigendirection a step by the absolute curvature."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def saddle_free_step(
    values: Float[Tensor, " k"], slopes: Float[Tensor, " k"], damping: float
) -> Float[Tensor, " k"]:
    """Y = −(|Λ| + λ)⁻¹ b: down the gradient in every eigendirection, near a saddle away by |λ|.

    Args:
        values: Λ (k,), eigenvalues of the curvature [loss/param²].
        slopes: b (k,), the gradient along them [loss/param].
        damping: λ ≥ 0 [loss/param²].

    Returns:
        The step (k,) along the eigenvectors; 0 where slope, curvature and λ are all 0.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", eq. 3; λ as in Levenberg's damping is ours.

    Example:
        >>> import torch
        >>> saddle_free_step(torch.tensor([2.0, -4.0]), torch.tensor([1.0, 1.0]), 0.0)
        tensor([-0.5000, -0.2500])
    """
    scale = values.abs() + damping
    return torch.where(slopes == 0, 0.0, -slopes / scale)
