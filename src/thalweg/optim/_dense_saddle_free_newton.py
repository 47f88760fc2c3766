"""Saddle-free Newton with every eigenvalue, for small networks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from thalweg.optim._damped import Damped
from thalweg.optim._metric import Metric
from thalweg.optim._saddle_free_newton import saddle_free_step
from thalweg.optim._subspace import Subspace, Whole
from thalweg.surface import HESSIAN, Curvature


class DenseSaddleFreeNewton(Damped):
    """Saddle-free Newton in the whole space: s = −(|C| + λ)⁻¹ ∇L, |C| by its eigenvalues.

    Near a minimum it is Newton's method; near a saddle it leaves along negative curvature by the
    step that Newton's method approaches by. On a saddle, where the gradient is zero, it stays:
    `TrustRegion` and `CubicRegularisation` leave it.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        damping: λ at first, in units of the largest curvature; then by the ratio, see `Damped`.
        curvature: `HESSIAN`; of the `GGN`, which needs `bind`, it is `LevenbergMarquardt`.
        metric: M; the curvature is then that of steps measured in it, L⁻¹ C L⁻ᵀ with
            M = L Lᵀ.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.

    Raises:
        BudgetError: in `step`, if C takes more than 2 GiB; says how much, and what to use.

    Cost: n products and an eigendecomposition of n × n; a forward pass for each λ tried.

    Source: Dauphin et al. 2014, "Identifying and attacking the saddle point problem in
    high-dimensional non-convex optimization", sec. 5 and algorithm 1, with the whole space in the
    place of their Krylov subspace; λ is not searched on a grid but set by the ratio.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([2.0, 0.5]))
        >>> opt = DenseSaddleFreeNewton([w], damping=1e-9)
        >>> loss = opt.step(lambda: w[0] ** 2 - w[1] ** 2)
        >>> w.data.round(decimals=4)
        tensor([0., 1.])
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        damping: float = 1e-3,
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            damping=damping,
            subspace=Whole(),
            curvature=curvature,
            metric=metric,
            maximize=maximize,
            refresh_every=refresh_every,
        )

    def _inner_step(self, subspace: Subspace, damping: float) -> Tensor:
        return saddle_free_step(subspace.values, subspace.slopes, damping)
