"""The loss along the step: what it promised, what it gave, and how sharply it curves there."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from thalweg.monitor._moment import Moment, norms

LONGEST = 64.0


class AlongStep:
    """The parabola through the losses at θ, θ + Δ and θ + sΔ, on the batch of the step.

        ℓ(t) = L(θ + tΔ) ≈ ℓ(0) + b t + ½ c t²
        c = 2 [(ℓ(s) − ℓ(0))/s − (ℓ(1) − ℓ(0))]/(s − 1),   b = ℓ(1) − ℓ(0) − ½ c

    `predicted_decrease` = −b [loss] is what the slope promised, `actual_decrease` = ℓ(0) − ℓ(1),
    `decrease_ratio` the second over the first: 1 where the loss is straight, ½ at the step to the
    bottom of the parabola, 0 at twice that, which is where gradient descent turns unstable.
    `step_sharpness` = c/‖Δ‖² [loss/param²] is the curvature ΔᵀHΔ/‖Δ‖², and `step_sharpness_error`
    what rounding leaves open of it.

    s begins at 2 and grows while rounding drowns the curvature. This is for networks of any size:
    nothing is differentiated. With accumulated gradients the last microbatch stands for all.

    Cost: one gradient, as three forward passes.

    Source: three-point interpolation (Nocedal and Wright 2006, sec. 3.5); that c/‖Δ‖² bounds λ_max
    from below is Rayleigh's quotient. The choice of s is ours.
    """

    name, guess, is_paired, needs_before = "along the step", 1.0, False, True

    def __init__(self) -> None:
        self._reach = 2.0

    def read(self, moment: Moment) -> Mapping[str, float]:
        """The parabola at this step."""
        updates = moment.updates
        if moment.batch is None or not updates:
            return {}
        square = sum(norm**2 for norm in norms(updates).values())
        if not 0 < square < float("inf"):
            return {}
        s = self._reach
        base, whole, far = (self._loss(moment, t) for t in (0.0, 1.0, s))
        moment.spend(1)
        curvature = 2 * ((far - base) / s - (whole - base)) / (s - 1)
        slope = whole - base - curvature / 2
        eps = torch.finfo(next(iter(updates.values())).dtype).eps
        rounding = 2 * eps * max(abs(base), abs(whole), abs(far))
        error = 2 * rounding * (1 / s + 1) / (s - 1)
        if error > 0.1 * abs(curvature):
            self._reach = min(2 * s, LONGEST)
        elif error < 0.01 * abs(curvature):
            self._reach = max(s / 2, 2.0)
        values = {
            "predicted_decrease": -slope,
            "actual_decrease": base - whole,
            "step_sharpness": curvature / square,
            "step_sharpness_error": error / square,
        }
        if abs(slope) > rounding + error / 2:
            values["decrease_ratio"] = (base - whole) / -slope
        return values

    def _loss(self, moment: Moment, t: float) -> float:
        """L at θ + tΔ, on the batch of the step."""
        at = {name: moment.before[name] + t * delta for name, delta in moment.updates.items()}
        return moment.reader.loss_at(at, moment.batch)
