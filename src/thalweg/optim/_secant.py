"""Secant corrections: where a step landed, a few more by the gradients that are met on the way."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np
import torch
from jaxtyping import Float
from scipy.linalg.lapack import dtrtrs
from torch import Tensor

from thalweg.optim._subspace import Subspace
from thalweg.optim._tuning import progress
from thalweg.optim._walk import Attempt, Walk

MAX_CORRECTIONS = 20

PAYS = 0.06
"""Progress of a gradient, in the logarithm of the loss, below which corrections are left off ..."""

WINDOW = 3
"""... over so many gradients."""

SHORTEST = 0.1
"""Of a correction that went up, the share that is tried at least."""

FIRST_ROOM = 4

CURVED = 1e-10
"""A pair with sᵀy of less than this share of ‖s‖‖y‖ says nothing of a curvature."""


@dataclass(frozen=True)
class Corrected:
    """Where corrections led.

    Args:
        attempt: the step as a whole.
        is_worth: whether they paid for the gradients that they took.
    """

    attempt: Attempt
    is_worth: bool


class SecantInverse:
    """An inverse curvature B: that of a subspace, mended by pairs s, y with B y = s.

    Before any pair B is (|Λ| + λ)⁻¹ within the subspace, measured in the metric, and γ outside of
    it: γ = sᵀy / yᵀM⁻¹y of the last pair, the mean curvature that it met.

    Args:
        space: QΛQᵀ along its directions.
        damping: λ.

    Source: Nocedal 1980, "Updating quasi-Newton matrices with limited storage", in the compact
    form of Byrd, Nocedal and Schnabel 1994, "Representations of quasi-Newton matrices and their use
    in limited memory methods", theorem 2.2. The subspace as what is updated is ours.
    """

    def __init__(self, space: Subspace, damping: float) -> None:
        self._metric = space.metric
        like = space.gradient
        rotation = space.rotation.to(like)
        # Rows are the eigenvectors, in the metric.
        self._axes = rotation.T if space.basis is None else rotation.T @ space.basis
        self._inner = (1 / (space.values.abs() + damping).clamp_min(1e-300)).to(like)
        self._outer = float(self._inner.median())
        self._steps = self._turns = like.new_empty(0, len(like))
        self._products = np.zeros((MAX_CORRECTIONS + 1, MAX_CORRECTIONS + 1))
        self._count = 0

    def learn(self, s: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> None:
        """Takes in a pair: along s the gradient turns by y. Left out where the loss bends down."""
        m = self._count
        if m == len(self._steps):
            # Room for twice as many: corrections that end at once hold few vectors.
            more = s.new_empty(max(m, FIRST_ROOM), len(s))
            self._steps, self._turns = (
                torch.cat([old, more]) for old in (self._steps, self._turns)
            )
        self._steps[m], self._turns[m] = s, y
        # Column m of R, the upper triangle of SᵀY.
        column = _numbers(self._steps[: m + 1] @ y)
        norms = torch.linalg.vector_norm(s) * torch.linalg.vector_norm(y)
        if not column[m] > CURVED * float(norms):
            return
        self._count = m + 1
        self._products[: m + 1, m] = column
        measured = self._metric.whitened(y)
        self._outer = float(self._products[m, m]) / float(measured @ measured)

    def applied(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """B v = r + S R⁻ᵀ (D a − Yᵀr) with a = R⁻¹Sᵀv and r = B₀ (v − Y a)."""
        m = self._count
        if not m:
            return self._unmended(v)
        S, Y, R = self._steps[:m], self._turns[:m], self._products[:m, :m]
        a, _ = dtrtrs(R, _numbers(S @ v))
        r = self._unmended(v - Y.T @ torch.from_numpy(a).to(v))
        c, _ = dtrtrs(R, R.diagonal() * a - _numbers(Y @ r), trans=1)
        return r + S.T @ torch.from_numpy(c).to(v)

    def _unmended(self, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """B₀ v."""
        u = self._metric.whitened(v)
        along = (self._inner - self._outer) * (self._axes @ u)
        return self._metric.lifted(torch.addmv(u, self._axes.T, along, beta=self._outer))


def secant_corrections(walk: Walk, space: Subspace, attempt: Attempt, damping: float) -> Corrected:
    """Goes on from where a step landed: s ← s − B ∇L(θ + s), B mended by every gradient met.

    A gradient costs less than a product, and far less than a subspace: where the curvature hardly
    turns along the way one subspace serves many of them. They go on as long as they take 6 % of
    the loss a gradient.

    Args:
        walk: of which the attempt is, with one rate for all parameters.
        space: of its step.
        attempt: the first step, taken.
        damping: λ of it.

    Cost: two gradients at least, one more for each correction, and a product at the end.
    """
    inverse = SecantInverse(space, damping)
    step, loss, spent = attempt.step, attempt.loss, walk.gradients_spent
    _, gradient = walk.sloped(step)
    inverse.learn(step, gradient - walk.gradient)
    gains: list[float] = []
    for _ in range(MAX_CORRECTIONS):
        more = -inverse.applied(gradient)
        slope = float(gradient @ more)
        if not slope < 0:
            break
        there, turned = walk.sloped(step + more)
        if not there < loss:
            if not isfinite(there):
                break
            gains.append(0.0)
            # To the minimum of the parabola through both losses and the slope.
            more = max(SHORTEST, -slope / (2 * (there - loss - slope))) * more
            there, turned = walk.sloped(step + more)
            if not there < loss:
                break
        inverse.learn(more, turned - gradient)
        gains.append(progress(loss, there))
        step, loss, gradient = step + more, there, turned
        if len(gains) >= WINDOW and sum(gains[-WINDOW:]) < WINDOW * PAYS:
            break
    if not loss < attempt.loss:
        return Corrected(attempt, False)
    is_worth = progress(attempt.loss, loss) > PAYS * (walk.gradients_spent - spent)
    bend = float(step @ walk.product(step))
    whole = walk.known(step, loss, float(walk.gradient @ step), bend)
    return Corrected(whole, is_worth)


def _numbers(v: Tensor) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    found: np.ndarray[tuple[int], np.dtype[np.float64]] = v.double().cpu().numpy()
    return found
