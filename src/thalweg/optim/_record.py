"""StepRecord: what a step predicted, what it did and what it cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StepRecord:
    """One step of an optimizer. What a method does not know is None.

    Args:
        step: the number of the step, from 1.
        loss: L before it [loss]; None where the optimizer was given gradients alone.
        gradient_norm: ‖∇L‖ [loss/param].
        step_norm: ‖s‖, of the change of the parameters; 0 where nothing was accepted [param].
        first_order_decrease: −gᵀs, which is ε‖g‖² for gradient descent [loss].
        second_order_decrease: −gᵀs − ½sᵀCs, with C the method's curvature [loss].
        actual_decrease: L before − L after, on the same data [loss].
        damping: λ, where the method has one.
        radius: of the trust region.
        subspace_size: directions in which the curvature was known.
        lowest_curvature: the smallest eigenvalue of C seen, in the method's metric.
        highest_curvature: the largest.
        is_escape: whether the step left along negative curvature alone.
        num_products: products with C.
        gradient_equivalents: all work by count of operations: a gradient 1, a forward pass ⅓, a
            product 2 (Hessian) or 4/3 (GGN).
        seconds: wall time.
        is_accepted: whether the parameters moved.
        reason: why, in words.
    """

    step: int
    loss: float | None
    gradient_norm: float
    step_norm: float = 0.0
    first_order_decrease: float | None = None
    second_order_decrease: float | None = None
    actual_decrease: float | None = None
    damping: float | None = None
    radius: float | None = None
    subspace_size: int | None = None
    lowest_curvature: float | None = None
    highest_curvature: float | None = None
    is_escape: bool = False
    num_products: int = 0
    gradient_equivalents: float = 0.0
    seconds: float = 0.0
    is_accepted: bool = True
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Actual over predicted decrease: 1 where the quadratic model is exact."""
        predicted = self.second_order_decrease
        if self.actual_decrease is None or not predicted:
            return None
        return self.actual_decrease / predicted

    @property
    def has_negative_curvature(self) -> bool | None:
        """Whether a direction was met along which the gradient falls."""
        return None if self.lowest_curvature is None else self.lowest_curvature < 0

    def __str__(self) -> str:
        parts = [f"step {self.step}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.6g}")
        parts.append(f"‖g‖ {self.gradient_norm:.3g}")
        if self.ratio is not None:
            parts.append(f"decrease {self.actual_decrease:.3g}, {self.ratio:.2f} of the predicted")
        elif self.first_order_decrease is not None:
            parts.append(f"first-order decrease {self.first_order_decrease:.3g}")
        if self.damping is not None:
            parts.append(f"λ {self.damping:.2g}")
        if self.radius is not None:
            parts.append(f"radius {self.radius:.2g}")
        if self.subspace_size is not None:
            parts.append(f"{self.subspace_size} directions")
        if self.has_negative_curvature:
            parts.append(f"negative curvature {self.lowest_curvature:.2g}")
        parts.append(f"{self.gradient_equivalents:.1f} gradients, {self.seconds * 1e3:.3g} ms")
        return ", ".join(parts) + (f": {self.reason}" if self.reason else "")
