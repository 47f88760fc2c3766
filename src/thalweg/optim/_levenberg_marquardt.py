"""Levenberg–Marquardt: Newton's method with a ridge that the ratio of decreases sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg.optim._damped import Damped
from thalweg.optim._metric import Metric
from thalweg.optim._subspace import Space, Subspace, Whole
from thalweg.surface import HESSIAN, Curvature


class LevenbergMarquardt(Damped):
    """Damped Newton: s = −(C + λM)⁻¹ ∇L, with C the Hessian or the GGN, M the metric.

    λ shrinks while the quadratic model predicts the loss and grows where it does not; see `Damped`.
    Where the Hessian is indefinite λ is at least 2|λ₁|, so that along the lowest eigenvector the
    step is divided by |λ₁|.

    Args:
        params: parameters, or groups of them with an `lr` of their own.
        lr: factor on the step, 1 for the method as published.
        damping: λ at first, in units of the largest curvature.
        subspace: where the curvature is looked at: `Whole()`, or `Krylov(k)` for large networks.
        curvature: `HESSIAN`; `GGN` for the method as published, which needs `bind`.
        metric: M.
        maximize: climb instead.
        refresh_every: steps between two readings of the metric.
        seed: of what is drawn at random.

    Raises:
        BudgetError: in `step`, if C takes more than 2 GiB; says how much, and what to use.

    Cost: n products in the whole space, k in a Krylov space; a forward pass for each λ tried.

    Source: Levenberg 1944, "A method for the solution of certain non-linear problems in least
    squares"; Marquardt 1963; λ as in Madsen, Nielsen and Tingleff 2004, algorithm 3.16. They solve
    least squares with the GGN; the Hessian and its least λ are ours.

    Example:
        >>> import torch
        >>> w = torch.nn.Parameter(torch.tensor([2.0]))
        >>> opt = LevenbergMarquardt([w], damping=1.0)
        >>> loss = opt.step(lambda: (w**2).sum())  # gradient 4, curvature 2, λ 2
        >>> w.data, opt.record.damping
        (tensor([1.]), 2.0)
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1.0,
        *,
        damping: float = 1e-3,
        subspace: Space = Whole(),  # noqa: B008  a frozen value
        curvature: Curvature = HESSIAN,
        metric: Metric | None = None,
        maximize: bool = False,
        refresh_every: int = 10,
        seed: int = 0,
    ) -> None:
        super().__init__(
            params,
            lr=lr,
            damping=damping,
            subspace=subspace,
            curvature=curvature,
            metric=metric,
            maximize=maximize,
            refresh_every=refresh_every,
            seed=seed,
        )

    def _inner_step(self, subspace: Subspace, damping: float) -> Tensor:
        return levenberg_marquardt_step(subspace.values, subspace.slopes, damping)

    def _least_damping(self, subspace: Subspace) -> float:
        return max(0.0, -2 * (subspace.lowest or 0.0))


def levenberg_marquardt_step(
    values: Float[Tensor, " k"], slopes: Float[Tensor, " k"], damping: float
) -> Float[Tensor, " k"]:
    """Y = −(Λ + λ)⁻¹ b.

    Args:
        values: Λ (k,), eigenvalues of the curvature [loss/param²].
        slopes: b (k,), the gradient along them [loss/param].
        damping: λ > −Λ₁ [loss/param²].

    Returns:
        The step (k,) along the eigenvectors.

    Source: Levenberg 1944, eq. 7.

    Example:
        >>> import torch
        >>> levenberg_marquardt_step(torch.tensor([-1.0, 2.0]), torch.tensor([1.0, 1.0]), 2.0)
        tensor([-1.0000, -0.2500])
    """
    return torch.where(slopes == 0, 0.0, -slopes / (values + damping))
