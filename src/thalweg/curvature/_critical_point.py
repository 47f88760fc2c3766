"""The critical-point card: what kind of place on the loss surface a point is, and how surely."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from math import sqrt
from time import perf_counter

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._layout import Layout
from thalweg.curvature._scaled_operator import ScaledOperator
from thalweg.curvature._spectrum_figure import spectrum_figure
from thalweg.curvature._stability import Stability, StepRule
from thalweg.linalg import (
    Density,
    Extremes,
    Inertia,
    MatrixOperator,
    SymmetricOperator,
    density,
    extremes,
    inertia,
    least_residual,
)
from thalweg.report import Figure
from thalweg.surface import Point, Surface

GRADIENT_TOL = 1e-4
"""A gradient counts as zero if a relative move of this size along the sharpest direction would
annul it: ‖∇L‖ ≤ tol · max|λ| · max(‖θ‖, 1)."""

SLOW = 1e-4
"""Progress counts as none if the largest stable gradient step lowers the loss by less than this
share of itself."""

NEAR = 1e-2
"""A critical point is near if the step to it is below this share of the parameters' norm."""

FLAT = 0.9
"""Above this r the gradient lies where the Hessian has no curvature (Frye et al. 2021, §3)."""


class Verdict(Enum):
    """What kind of place a point is."""

    MINIMUM = "minimum"
    SADDLE = "saddle"
    MAXIMUM = "maximum"
    PLATEAU = "plateau"
    NOT_CRITICAL = "not critical"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class CriticalPoint:
    """The card of a point on a loss surface.

    Args:
        value: L [loss].
        gradient_norm: ‖∇L‖ [loss/param].
        gradient_tol: the norm below which the gradient counts as zero [loss/param].
        num_parameters: n.
        extremes: eigenpairs at both ends [loss/param²], with residuals and bounds.
        inertia: numbers of negative, null and positive eigenvalues; the index is the first.
        negative_curvature: the unit direction of λ_min by parameter name, None where λ_min is not
            negative beyond its bound.
        flatness: r = ‖Hp + ∇L‖ / (‖H‖_F ‖p‖ + ‖∇L‖) for the step p of least residual: near 1 where
            the gradient is small but no critical point is near, 0 where Newton's step solves.
        distance: ‖p‖ / max(‖θ‖, 1): how far, by the quadratic model, the critical point is.
        stability: sharpness against the stability limit of the step in use, None without one.
        density: the spectrum's density, None where all eigenvalues are known.
        verdict: the kind of place.
        reason: why, in words.
        num_gradients: cost in gradient-equivalents.
        seconds: cost in time.
    """

    value: float
    gradient_norm: float
    gradient_tol: float
    num_parameters: int
    extremes: Extremes
    inertia: Inertia
    negative_curvature: dict[str, Tensor] | None
    flatness: float
    distance: float
    stability: Stability | None
    density: Density | None
    verdict: Verdict
    reason: str
    num_gradients: float
    seconds: float

    @property
    def sharpness(self) -> float:
        """λ_max [loss/param²]."""
        return float(self.extremes.top.values[0])

    @property
    def lowest(self) -> float:
        """λ_min [loss/param²]."""
        return float(self.extremes.bottom.values[0])

    @property
    def headline(self) -> str:
        """The verdict in words, with the index of a saddle."""
        if self.verdict is not Verdict.SADDLE:
            return str(self.verdict.value)
        if self.inertia.is_exact:
            return f"saddle of index {self.inertia.negative}"
        low, high = self.index_interval
        return f"saddle of index about {self.inertia.negative:,.0f} ({low:,.0f} to {high:,.0f})"

    @property
    def index_interval(self) -> tuple[float, float]:
        """Between which numbers of eigenvalues are negative beyond the tolerance for null ones."""
        if self.density is None:
            return self.inertia.negative, self.inertia.negative
        count = self.density.count_below(-self.inertia.null_tol)
        return count.low, count.high

    @property
    def null_interval(self) -> tuple[float, float]:
        """Between which numbers of eigenvalues are zero to the tolerance."""
        if self.density is None:
            return self.inertia.null, self.inertia.null
        tol, n = self.inertia.null_tol, self.num_parameters
        share = self.density.mass(-tol, tol)
        return n * share.low, n * share.high

    def figure(self) -> Figure:
        """The spectrum of the Hessian: every eigenvalue, or the density and the outermost ones."""
        return spectrum_figure("Hessian", self.extremes, self.inertia, self.density)

    def __str__(self) -> str:
        top, bottom = self.extremes.top, self.extremes.bottom
        lines = [
            f"{self.headline}: {self.reason}",
            f"loss {self.value:.6g}   gradient norm {self.gradient_norm:.3g}   "
            f"{self.num_parameters:,} parameters",
            f"λ_max {_within(top.values[0], top.bounds[0])}   "
            f"λ_min {_within(bottom.values[0], bottom.bounds[0])}",
            f"flatness r {self.flatness:.3f}",
        ]
        if self.stability:
            rule = self.stability.rule
            lines.append(
                f"sharpness {self.stability.sharpness:.4g} against {rule.limit:.4g}, the limit of "
                f"{rule.name} at lr {rule.lr:g}: "
                f"{'stable' if self.stability.is_stable else 'unstable'}"
            )
        return "\n".join([*lines, f"cost {self.num_gradients:.0f} gradients, {self.seconds:.1f} s"])


def critical_point(
    point: Point,
    lr: float | None = None,
    *,
    rule: StepRule | None = None,
    preconditioner: Tensor | None = None,
    generator: torch.Generator | None = None,
    dense_up_to: int = 1000,
    num_probes: int = 8,
    num_steps: int = 48,
) -> CriticalPoint:
    """Reads what kind of place a point is: minimum, saddle, plateau, or no critical point.

    Small networks are read by all eigenvalues of the dense Hessian, in float64; larger ones by one
    Lanczos run for both ends and by the spectral density for the index.

    Args:
        point: where.
        lr: the learning rate of plain gradient descent, as a short form of `rule`.
        rule: the step in use, from `StepRule.of(optimizer)`.
        preconditioner: (n,) √v of methods that divide by it, for their sharpness.
        generator: of the random starts; seeded with 0 where none is given.
        dense_up_to: n up to which the dense Hessian is taken.
        num_probes: of the density.
        num_steps: Lanczos steps of each probe.

    Returns:
        The card.

    Raises:
        SecondDerivativeError: if an operation has no second derivative.
        ThalwegError: if lr and rule are both given.

    Cost:
        n products for n ≤ dense_up_to, otherwise about num_probes · num_steps + 100. A product is
        two gradients.

    Source: Dauphin et al. 2014 for the index; Frye et al. 2021, "Critical point-finding methods
    reveal gradient-flat regions of deep network losses", eq. 8, for r; here p is the step of least
    residual in the Krylov space of the gradient.

    Example:
        >>> import torch, thalweg
        >>> x = torch.tensor([[1.0], [2.0]])
        >>> problem = thalweg.Problem(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss, (x, x))
        >>> minimum = thalweg.Surface(problem).at(torch.tensor([1.0, 0.0]))
        >>> critical_point(minimum).headline
        'minimum'
    """
    start = perf_counter()
    if lr is not None:
        if rule is not None:
            raise ThalwegError("critical_point(point, lr, rule=...) got both; give one of them")
        rule = StepRule.gradient_descent(lr)
    generator = generator or torch.Generator().manual_seed(0)
    is_small = point.layout.size <= dense_up_to
    if is_small:
        point = _in_float64(point)
    hessian = point.hessian()
    gradient = point.gradient_vector
    operator: SymmetricOperator = hessian
    spectrum: Density | None = None
    if is_small:
        operator = MatrixOperator(hessian.to_dense())
        num_products = hessian.size
        ends = extremes(operator, generator=generator)
        counts = inertia(operator)
        assert counts.eigenvalues is not None, "counted, not estimated"
        frobenius = float(counts.eigenvalues.norm())
    else:
        ends = extremes(operator, generator=generator)
        spectrum = density(
            operator, generator=generator, num_probes=num_probes, num_steps=num_steps
        )
        counts = spectrum.inertia(_null_tol(ends))
        frobenius = sqrt(spectrum.moment(2).value * operator.size)
        num_products = ends.num_products + spectrum.num_products
    step = least_residual(operator, -gradient, num_steps=min(60, operator.size))
    stability, more = _stability(operator, ends, rule, preconditioner, generator)
    if not is_small:
        num_products += step.num_products + more
    gradient_norm = float(gradient.norm())
    scale = frobenius * float(step.x.norm()) + gradient_norm
    flatness = float((operator @ step.x + gradient).norm()) / scale if scale else 0.0
    steepest = max(abs(float(ends.top.values[0])), abs(float(ends.bottom.values[0])))
    size = max(float(point.vector.norm()), 1.0)
    slope = _Slope(
        norm=gradient_norm,
        tol=GRADIENT_TOL * steepest * size,
        rounding=10 * torch.finfo(operator.dtype).eps * sqrt(operator.size) * steepest * size,
        flatness=flatness,
        distance=float(step.x.norm()) / size,
        gain=gradient_norm**2 / (2 * steepest) if steepest else 0.0,
    )
    verdict, reason = _judge(point.value, slope, ends, counts)
    return CriticalPoint(
        value=point.value,
        gradient_norm=gradient_norm,
        gradient_tol=slope.tol,
        num_parameters=operator.size,
        extremes=ends,
        inertia=counts,
        negative_curvature=_direction(ends, point.layout),
        flatness=flatness,
        distance=slope.distance,
        stability=stability,
        density=spectrum,
        verdict=verdict,
        reason=reason,
        num_gradients=1 + num_products * hessian.gradients_per_product,
        seconds=perf_counter() - start,
    )


def _in_float64(point: Point) -> Point:
    """The same point read in float64, so that rounding does not pass for curvature."""
    if point.vector.dtype == torch.float64:
        return point
    problem = point.problem.to(dtype=torch.float64)
    try:
        return Surface(problem, point.layout.names).at(point.vector.double())
    except ThalwegError:
        # Some models make float32 tensors inside; they are read as they are.
        return point


def _null_tol(ends: Extremes) -> float:
    """Below this an eigenvalue of a large Hessian cannot be told from zero."""
    return float(max(ends.top.residuals[0], ends.bottom.residuals[0]))


def _stability(
    operator: SymmetricOperator,
    ends: Extremes,
    rule: StepRule | None,
    preconditioner: Tensor | None,
    generator: torch.Generator,
) -> tuple[Stability | None, int]:
    """Sharpness in the metric of the rule, and the products spent on it."""
    if rule is None:
        return None, 0
    if rule.epsilon is None:
        return Stability(rule, float(ends.top.values[0])), 0
    if preconditioner is None:
        return None, 0
    scale = (preconditioner.to(operator.dtype) + rule.epsilon).rsqrt()
    scaled = extremes(ScaledOperator(operator, scale), generator=generator)
    return Stability(rule, float(scaled.top.values[0])), scaled.num_products


def _direction(ends: Extremes, layout: Layout) -> dict[str, Tensor] | None:
    if float(ends.bottom.bounds[0, 1]) >= 0:
        return None
    return layout.unflatten(ends.bottom.vectors[:, 0].to(layout.dtype))


@dataclass(frozen=True)
class _Slope:
    """What the gradient says: its norm, what counts as zero, and what Newton's step makes of it."""

    norm: float
    tol: float
    rounding: float
    flatness: float
    distance: float
    gain: float

    @property
    def is_zero(self) -> bool:
        """Small, and a critical point near by; or no more than rounding."""
        is_near = self.distance <= NEAR and self.flatness <= FLAT
        return self.norm <= self.rounding or (self.norm <= self.tol and is_near)


def _judge(value: float, slope: _Slope, ends: Extremes, counts: Inertia) -> tuple[Verdict, str]:
    """The verdict and its reason, from the gradient first and the curvature second."""
    if not slope.is_zero:
        return _judge_slope(value, slope)
    lowest, highest = float(ends.bottom.bounds[0, 1]), float(ends.top.bounds[0, 0])
    if lowest >= -counts.null_tol and highest <= counts.null_tol:
        return Verdict.PLATEAU, "gradient and curvature are both zero"
    if counts.is_exact and counts.positive == counts.null == 0:
        return Verdict.MAXIMUM, "the gradient is zero and every direction curves down"
    if lowest < -counts.null_tol:
        return Verdict.SADDLE, (
            f"the gradient is zero to {slope.tol:.1g} and the loss curves down along at least "
            f"one direction, λ_min ≤ {lowest:.3g}"
        )
    if counts.is_exact:
        flat = f", flat to second order along {counts.null} directions" if counts.null else ""
        return Verdict.MINIMUM, f"the gradient is zero and no eigenvalue is negative{flat}"
    low, _ = ends.spread_bound()
    if low > -0.05 * highest:
        return Verdict.MINIMUM, (
            f"the gradient is zero and, with probability 99 %, no eigenvalue is below {low:.2g}"
        )
    return Verdict.UNDECIDED, (
        f"the gradient is zero and no negative curvature was met, but eigenvalues down to "
        f"{low:.2g} cannot be excluded; more Lanczos steps would tell"
    )


def _judge_slope(value: float, slope: _Slope) -> tuple[Verdict, str]:
    """Plateau or plain slope."""
    if slope.norm <= slope.tol:
        return Verdict.PLATEAU, (
            f"the gradient is small but no critical point is near: Newton's step would be "
            f"{slope.distance:.2g} of the parameters' norm, and leaves r = {slope.flatness:.2f}"
        )
    if slope.gain < SLOW * abs(value):
        return Verdict.PLATEAU, (
            f"the gradient is not zero, but the largest stable step would lower the loss by "
            f"{slope.gain / abs(value):.1g} of itself only (r = {slope.flatness:.2f})"
        )
    return Verdict.NOT_CRITICAL, (
        f"the gradient norm {slope.norm:.3g} is above {slope.tol:.3g}, where it would count as zero"
    )


def _within(value: Tensor, bounds: Tensor) -> str:
    return f"{float(value):.4g} [{float(bounds[0]):.4g}, {float(bounds[1]):.4g}]"
