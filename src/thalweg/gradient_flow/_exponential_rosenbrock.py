"""Exponential Rosenbrock: the Hessian of each step exactly, through Krylov spaces."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from thalweg._errors import NonFiniteError, ThalwegError
from thalweg.gradient_flow._field import Field, Place
from thalweg.gradient_flow._graded_rule import graded_rule
from thalweg.gradient_flow._integrator import (
    FlowStuck,
    Integrator,
    Node,
    Step,
    check_tol,
    refined,
    size_of,
)
from thalweg.gradient_flow._krylov import KrylovSpace
from thalweg.gradient_flow._phi import phi
from thalweg.linalg import SymmetricOperator

_SAFETY, _LEAST, _MOST = 0.85, 0.2, 4.0
_KRYLOV_SHARE = 0.05
"""Of the tolerance: what a Krylov space may leave."""

Scale = NDArray[np.float64]
"""One number for each share of a step."""


@dataclass(frozen=True)
class ExponentialRosenbrock(Integrator):
    """exprb43: of order 4, with the Hessian H of each step in φ functions.

        U₂ = θ + h/2 φ₁(h/2 J) f,   U₃ = θ + h φ₁(hJ) f + h φ₁(hJ) D₂,   J = −H
        θ' = θ + h φ₁(hJ) f + h (16φ₃ − 48φ₄)(hJ) D₂ + h (12φ₄ − 2φ₃)(hJ) D₃
        D_i = −∇L(U_i) − f − J (U_i − θ),   error = h (−48φ₄ D₂ + 12φ₄ D₃)

    Of a quadratic every step is exact.

    Args:
        tol: of the local error, as a share of max(1, ‖θ‖).
        max_krylov: the most products for one vector; where they are not enough the step is halved.

    Raises:
        ThalwegError: if an argument is out of range.

    Cost: 4 gradients a step, and the products of three Krylov spaces.

    Example:
        >>> ExponentialRosenbrock(1e-6).said
        'exponential Rosenbrock of order 4, tol 1e-06'

    Source: Hochbruck, Ostermann and Schweitzer 2009, "Exponential Rosenbrock-type methods", table
    1, exprb43.
    """

    tol: float = 1e-8
    max_krylov: int = 100

    def __post_init__(self) -> None:
        check_tol("ExponentialRosenbrock", self.tol)
        if self.max_krylov < 2:
            raise ThalwegError(
                f"ExponentialRosenbrock(max_krylov={self.max_krylov}); give 2 or more"
            )

    @property
    def said(self) -> str:
        """The method in words."""
        return f"exponential Rosenbrock of order 4, tol {self.tol:g}"

    def steps(
        self, field: Field, start: Place, span: float, generator: torch.Generator
    ) -> Iterator[Step]:
        """Steps of this method; see `Integrator.steps`."""
        time, place = 0.0, start
        op = field.hessian(place)
        slope = KrylovSpace(op, -place.gradient)
        # The first step is guessed by the Hessian's size along the gradient.
        bend = float(torch.linalg.vector_norm(op @ place.gradient)) if slope.length > 0 else 0.0
        h = min(span, 0.1 * slope.length / bend) if bend > 0 else span
        while time < span:
            is_last = time + h >= span * (1 - 1e-12)
            length = span - time if is_last else h
            tol = self.tol * size_of(place.vector)
            left = slope.grow(length, 1, _KRYLOV_SHARE * tol, self.max_krylov)
            if left > _KRYLOV_SHARE * tol:
                h = length / 2
                continue
            try:
                step = _Stages(field, op, slope, place, length, tol, self.max_krylov)
                error = step.error + step.left
                arrived = field.at(step.at(1.0)[0]) if error <= tol else None
            except NonFiniteError:
                error, arrived = inf, None
            h = length * min(_MOST, max(_LEAST, _SAFETY * (tol / max(error, 1e-300)) ** 0.25))
            if arrived is None:
                if h < 1e-14 * max(time, 1e-300) or h < 1e-300:
                    raise FlowStuck(f"steps got as short as rounding at t = {time:.6g}")
                continue
            before = Node(time, place.vector, -place.gradient)
            nodes = refined(before, step.at, length, 10 * tol)
            if is_last:
                nodes = (*nodes[:-1], Node(span, nodes[-1].vector, nodes[-1].velocity))
            time, place = span if is_last else time + length, arrived
            yield Step(nodes, place, step.energy(), error)
            if not is_last:
                op = field.hessian(place)
                slope = KrylovSpace(op, -place.gradient)


class _Stages:
    """The stages of one step, and the path that it takes.

        θ(s) = θ + h s φ₁ f + 2 h s³ φ₃ c₂ + 6 h s⁴ φ₄ c₃,   φ_k at −s h H
        c₂ = 8 D₂ − D₃,   c₃ = 2 D₃ − 8 D₂

    r is the parabola-like s² c₂ + s³ c₃ through D₂ at ½ and D₃ at 1.
    """

    def __init__(
        self,
        field: Field,
        op: SymmetricOperator,
        slope: KrylovSpace,
        place: Place,
        h: float,
        tol: float,
        most: int,
    ) -> None:
        self._origin, self._h, self._spaces = place.vector, h, [slope]
        self._basis = slope.basis
        self.left = slope.error(h, 1)
        half, half_bent = self._stage(0.5)
        whole, whole_bent = self._stage(1.0)
        second = self._defect(field, place, half, half_bent)
        space = KrylovSpace(op, second)
        self.left += space.grow(h, 1, _KRYLOV_SHARE * tol, most)
        weights, values = space.modes()
        moved = space.coordinates(h * phi(-h * values, 1)[1] * weights)
        moved_on = space.basis @ second.new_tensor(moved)
        # H times it follows from φ₁: −hHφ₁ = φ₀ − 1.
        bent = space.basis @ second.new_tensor(
            space.coordinates((1 - phi(-h * values, 0)[0]) * weights)
        )
        third = self._defect(field, place, whole + moved_on, whole_bent + bent)
        other = KrylovSpace(op, third)
        self.left += other.grow(h, 1, _KRYLOV_SHARE * tol, most)
        self._spaces += [space, other]
        self._basis = torch.cat([s.basis for s in self._spaces], 1)
        whole_step = np.ones(1)
        fourth = self._along([0 * whole_step, -48 * whole_step, 12 * whole_step], 4, whole_step)
        self.error = h * float(
            torch.linalg.vector_norm(self._basis @ second.new_tensor(fourth[:, 0]))
        )

    def _stage(self, share: float) -> tuple[Tensor, Tensor]:
        """U − θ and H (U − θ) of the linear flow: −hHφ₁ = φ₀ − 1."""
        slope, tau = self._spaces[0], share * self._h
        weights, values = slope.modes()
        functions = phi(-tau * values, 1)
        moved = slope.coordinates(tau * functions[1] * weights)
        bent = slope.coordinates((1 - functions[0]) * weights)
        like = self._origin
        return self._basis @ like.new_tensor(moved), self._basis @ like.new_tensor(bent)

    def _defect(self, field: Field, place: Place, moved: Tensor, bent: Tensor) -> Tensor:
        """D = −∇L(U) + ∇L(θ) + H (U − θ)."""
        return place.gradient - field.at(place.vector + moved).gradient + bent

    def _along(self, scales: Sequence[Scale], index: int, shares: Scale) -> NDArray[np.float64]:
        """Σ scale φ_index(−s h H) vector over the three spaces, along their joint basis (M, s)."""
        parts = []
        for space, scale in zip(self._spaces, scales, strict=True):
            weights, values = space.modes()
            function = phi(-self._h * np.multiply.outer(values, shares), index)[index]
            parts.append(space.coordinates(weights[:, None] * function * scale))
        return np.concatenate(parts)

    def _speed(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """θ̇ along the joint basis, at each share."""
        second, third, none = 2 * shares**2, 6 * shares**3, np.zeros_like(shares)
        return (
            self._along([none + 1.0, none, none], 0, shares)
            + self._along([none, 8 * second, -second], 2, shares)
            + self._along([none, -8 * third, 2 * third], 3, shares)
        )

    def at(self, share: float) -> tuple[Tensor, Tensor]:
        """θ and θ̇ at a share of the step."""
        shares = np.array([share])
        second, third, none = 2 * shares**3, 6 * shares**4, np.zeros_like(shares)
        moved = (
            self._along([shares, none, none], 1, shares)
            + self._along([none, 8 * second, -second], 3, shares)
            + self._along([none, -8 * third, 2 * third], 4, shares)
        )
        like = self._origin
        vector = like + self._h * (self._basis @ like.new_tensor(moved[:, 0]))
        return vector, self._basis @ like.new_tensor(self._speed(shares)[:, 0])

    def energy(self) -> float:
        """∫‖θ̇‖² over the step, by Gauss' rule on panels that get finer to its start."""
        sharpest = max(float(np.abs(s.values).max(initial=0.0)) for s in self._spaces)
        shares, weights = graded_rule(self._h * sharpest)
        gram = (self._basis.T @ self._basis).double().cpu().numpy()
        speeds = self._speed(shares)
        squares = np.einsum("is,ij,js->s", speeds, gram, speeds)
        return float(self._h * weights @ squares)
