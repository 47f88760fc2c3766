"""The sharpness λ_max against the curvature at which the optimizer's step turns unstable."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

import torch
from torch import Tensor

from thalweg._layout import Layout
from thalweg.curvature import StepRule
from thalweg.linalg import MatvecOperator, SymmetricOperator, follow
from thalweg.monitor._moment import Moment

TOL = 0.02
"""Wanted relative error of λ_max; what is left of it is told as `sharpness_error`."""

MOST_PRODUCTS = 4
"""In one reading; the next one goes on from there."""

AUDIT_EVERY = 16
"""So many readings apart, one starts from a random vector, too: another eigenvalue may have grown
past the one that is followed."""


class Sharpness:
    """λ_max of the Hessian, followed from reading to reading, and the limit of the step in use.

    `sharpness` [loss/param²] is λ_max on the data of curvature, or for Adam and AdamW
    `preconditioned_sharpness`, of P^(−1/2) H P^(−1/2) with P = diag(√v̂ + ε); `sharpness_error` is
    how far above it λ_max may lie by what the residual leaves open; `stability_limit` is 2/η,
    (2 + 2β)/η with momentum, (2 + 2β₁)/((1 − β₁)η) for Adam: 38/η at β₁ = 0.9; and
    `stability_ratio` the first over the second. Above 1 the step overshoots along the sharpest
    direction.

    Args:
        generator: draws the starts of the audits.

    Cost: a gradient to prepare and 2 for each of one to four products; the first reading starts
    from the gradient, and later ones from the last eigenvector.

    Source: Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of
    stability", and 2022 for Adam; the following is that of `thalweg.linalg.follow`.
    """

    name, guess, is_paired, needs_before = "sharpness", 7.0, False, False

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator
        self._second = -inf
        self._num_readings = 0
        self.vector: Tensor | None = None
        self.scale: Tensor | None = None
        self.layout: Layout | None = None
        self.step = 0

    def read(self, moment: Moment) -> Mapping[str, float]:
        """λ_max now, and what the optimizer can bear."""
        point = moment.point
        hessian = point.hessian()
        rule = StepRule.of(moment.optimizer)
        self.scale = None
        op: SymmetricOperator = hessian
        if rule is not None and rule.epsilon is not None:
            self.scale = D = _inverse_root(moment, point.layout, rule.epsilon)
            # D is a diagonal.
            op = MatvecOperator(
                lambda v: D * (hessian @ (D * v)), op.size, dtype=op.dtype, device=op.device
            )
        start = self.vector
        if start is None or len(start) != op.size:
            gradient = point.gradient_vector
            start = gradient if self.scale is None else self.scale * gradient
            self._second = -inf
        start = start.to(op.device, op.dtype)
        if not float(torch.linalg.vector_norm(start)) > 0:
            start = self._random(op)
        found = follow(op, start, self._second, tol=TOL, max_steps=MOST_PRODUCTS)
        num_products = found.num_products
        self._num_readings += 1
        if self._num_readings % AUDIT_EVERY == 0:
            other = follow(op, self._random(op), -inf, tol=TOL, max_steps=2 * MOST_PRODUCTS)
            num_products += other.num_products
            found = max(found, other, key=lambda it: it.value)
        moment.spend(num_products * hessian.gradients_per_product)
        self.vector, self._second = found.vector, found.second
        self.layout, self.step = point.layout, moment.step
        prefix = "" if self.scale is None else "preconditioned_"
        values = {f"{prefix}sharpness": found.value, "sharpness_error": found.error}
        if rule is not None:
            values["stability_limit"] = rule.limit
            values["stability_ratio"] = found.value / rule.limit
        return values

    def _random(self, op: SymmetricOperator) -> Tensor:
        device = self._generator.device
        drawn = torch.randn(op.size, generator=self._generator, device=device, dtype=op.dtype)
        return drawn.to(op.device)


def _inverse_root(moment: Moment, layout: Layout, epsilon: float) -> Tensor:
    """(√v̂ + ε)^(−1/2) as a vector (n,); 0 where the optimizer has no v."""
    state, beta = moment.optimizer.state, _second_beta(moment.optimizer)
    parts = {}
    for name in layout.names:
        parameter = moment.parameters[name]
        known = state.get(parameter, {})
        v = known.get("max_exp_avg_sq", known.get("exp_avg_sq"))
        if v is None:
            parts[name] = torch.zeros_like(parameter, dtype=layout.dtype)
            continue
        bias = 1 - beta ** float(known["step"])
        parts[name] = ((v.detach().to(layout.dtype) / bias).sqrt() + epsilon).rsqrt()
    return layout.flatten(parts)


def _second_beta(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["betas"][1])
