"""Exponential Adams: the sharp directions exactly, all others by a multistep method."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from thalweg._errors import NonFiniteError, ThalwegError
from thalweg.gradient_flow._exponential_polynomial import ExponentialPolynomial, Slopes
from thalweg.gradient_flow._field import Field, Place
from thalweg.gradient_flow._integrator import (
    FlowStuck,
    Integrator,
    Node,
    Step,
    check_tol,
    refined,
    size_of,
)
from thalweg.gradient_flow._sharp_space import sharp_space

STIFF = 0.1
"""From this h‖∂r/∂θ‖ on a correction of A pays."""

_SAFETY, _LEAST, _MOST = 0.8, 0.25, 2.0

_FIRST_LOOK = 10
"""Products with the Hessian before the first step."""


@dataclass(frozen=True)
class ExponentialAdams(Integrator):
    """A multistep method of variable step and order, exact in the sharp directions.

        θ̇ = f_n − V Λ Vᵀ(θ − θ_n) + r(θ),   r(θ) = −∇L(θ) − f_n + V Λ Vᵀ(θ − θ_n)
        θ_{n+1} = θ_n + h φ₁(hA) f_n + ∫₀^h e^{(h−τ)A} P(τ) dτ,   A = −V Λ Vᵀ

    P interpolates r at the last q times: the predictor. One more gradient, at the predicted θ, is
    interpolated too: the corrector. A costs no order, whatever it is; it only has to be near −H
    where h H is large. At the start V, Λ are Ritz pairs of H. From then on they follow it for
    nothing: what corrector and predictor differ by lies along the direction in which r is
    stiffest, as in a power iteration, and their two gradients say what H does to it. Where
    h ‖∂r/∂θ‖ along it is above 0.1, A is corrected to agree.

    Args:
        tol: of the local error, as a share of max(1, ‖θ‖).
        max_order: of the corrector, 2 to 9.
        max_sharp: the most directions in V, whose vectors are kept.

    Raises:
        ThalwegError: if an argument is out of range.

    Cost: 2 gradients a step, and 10 products at the start.

    Example:
        >>> ExponentialAdams(tol=1e-6).said
        'exponential Adams of order 2 to 8, tol 1e-06'

    Source: Hochbruck and Ostermann 2011, "Exponential multistep methods of Adams-type", for the
    Adams methods with φ functions; Shampine and Gordon 1975, "Computer solution of ordinary
    differential equations", for predictor, corrector and the choice of order. That A has low rank,
    and that it follows H by secants of the corrections, is ours.
    """

    tol: float = 1e-8
    max_order: int = 8
    max_sharp: int = 96

    def __post_init__(self) -> None:
        check_tol("ExponentialAdams", self.tol)
        if not 2 <= self.max_order <= 9 or self.max_sharp < 1:
            raise ThalwegError(
                f"ExponentialAdams(max_order={self.max_order}, max_sharp={self.max_sharp}); give "
                f"an order from 2 to 9 and at least one direction"
            )

    @property
    def said(self) -> str:
        """The method in words."""
        return f"exponential Adams of order 2 to {self.max_order}, tol {self.tol:g}"

    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Steps of this method; see `Integrator.steps`."""
        return _Walk(self, field, start, span, generator).steps()


class _Walk:
    """One run: the history, the sharp space, step and order."""

    def __init__(
        self,
        method: ExponentialAdams,
        field: Field,
        start: Place,
        span: float,
        generator: torch.Generator,
    ) -> None:
        self.method, self.field, self.span = method, field, span
        self.history: list[tuple[float, Place]] = [(0.0, start)]
        self.order = 1
        num_products = min(_FIRST_LOOK, method.max_sharp)
        self.space, rest = sharp_space(
            field.hessian(start), num_products, start.gradient, generator
        )
        speed = float(torch.linalg.vector_norm(start.gradient))
        # A first-order step: its error is about h² ‖rest‖ speed / 2.
        scale = max(rest, 1e-300) * max(speed, 1e-300)
        self.h = min(span, 0.1 * (method.tol * size_of(start.vector) / scale) ** 0.5)
        self._since_rejection = 2

    def steps(self) -> Iterator[Step]:
        """Steps from here to the span."""
        while (time := self.history[-1][0]) < self.span:
            left = self.span - time
            h = left if left <= self.h * 1.01 else min(self.h, 0.5 * left + 0.5 * self.h)
            step = self._attempt(h)
            if step is not None:
                yield step
            elif self.h < 1e-14 * max(time, 1e-300) or self.h < 1e-300:
                raise FlowStuck(f"steps got as short as rounding at t = {time:.6g}")

    def _attempt(self, h: float) -> Step | None:
        """One predictor, one corrector; None where the error is too large."""
        time, place = self.history[-1]
        tol = self.method.tol * size_of(place.vector)
        past = self.history[-self.order : -1]
        slopes = Slopes(self.space, place, time, h, past)
        count = len(past)
        predicted_vector = ExponentialPolynomial(slopes, range(count)).end()
        try:
            predicted = self.field.at(predicted_vector)
            slopes = slopes.also(time + h, predicted)
            corrector = ExponentialPolynomial(slopes, range(count + 1))
            end = corrector.end()
            # What correctors of lower order miss: they leave the oldest out.
            errors = [
                _distance(end, ExponentialPolynomial(slopes, range(drop, count + 1)).end())
                for drop in range(1, min(2, count) + 1)
            ]
            error = errors[0] if errors else _distance(end, predicted_vector)
            if not error <= tol:
                self._reject(h, error, tol)
                return None
            arrived = self.field.at(end)
        except NonFiniteError:
            self._reject(h, inf, tol)
            return None
        nodes = refined(Node(time, place.vector, -place.gradient), corrector.at, h, 10 * tol)
        self.history = [*self.history[-self.method.max_order :], (time + h, arrived)]
        self._adapt(h, error, errors, tol)
        self._follow(predicted, arrived)
        return Step(nodes, arrived, corrector.energy(), error)

    def _reject(self, h: float, error: float, tol: float) -> None:
        self._since_rejection = 0
        shrink = (
            max(_LEAST, _SAFETY * (tol / error) ** (1 / (self.order + 1))) if error < inf else 0.1
        )
        self.h = h * min(shrink, 0.9)
        if error > 1e3 * tol and self.order > 1:
            self.order = max(1, self.order // 2)

    def _adapt(self, h: float, error: float, lower: list[float], tol: float) -> None:
        """Step and order for the next attempt: the order whose step would be longest."""

        def factor(missed: float, order: int) -> float:
            return _SAFETY * float((tol / max(missed, 1e-300)) ** (1 / (order + 1)))

        order = self.order
        best = factor(error, order)
        self._since_rejection += 1
        is_growing = order < self.method.max_order - 1 and len(self.history) > order + 1
        if len(lower) > 1 and (down := factor(lower[1], order - 1)) > best:
            self.order, best = order - 1, down
        elif is_growing and self._since_rejection > 1:
            # What the next order would leave is guessed by the ratio of the last two.
            ratio = lower[0] / lower[1] if len(lower) > 1 and lower[1] > 0 else 0.1
            up = factor(error * min(ratio, 1.0), order + 1)
            if up > best or len(self.history) < 4:
                self.order, best = order + 1, up
        self.h = h * min(_MOST, max(_LEAST, best))

    def _follow(self, predicted: Place, arrived: Place) -> None:
        """Corrects A by the two gradients of this step, where r is stiff between them."""
        moved = arrived.vector - predicted.vector
        length = float(torch.linalg.vector_norm(moved))
        # Shorter ones say more of rounding than of the Hessian.
        if length <= 4096 * torch.finfo(moved.dtype).eps * size_of(arrived.vector):
            return
        change = arrived.gradient - predicted.gradient
        missed = float(torch.linalg.vector_norm(change - self.space.multiplied(moved)))
        if self.h * missed > STIFF * length:
            self.space = self.space.corrected(moved, change, self.method.max_sharp)


def _distance(one: Tensor, other: Tensor) -> float:
    return float(torch.linalg.vector_norm(one - other))
