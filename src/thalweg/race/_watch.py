"""Watch: the sharpness along a run, against the limit at which its steps turn unstable."""

from __future__ import annotations

from math import isfinite

import torch
from torch import Tensor

from thalweg._errors import ThalwegError
from thalweg._problem import Problem
from thalweg._training import described
from thalweg.curvature import StepRule
from thalweg.curvature._scaled_operator import ScaledOperator
from thalweg.linalg import SymmetricOperator, extremes
from thalweg.optim import GradientDescent, HeavyBall
from thalweg.race._trial import Mark, SharpnessMark
from thalweg.surface import Surface

SHARES = (0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Of the budget, at which the sharpness is read."""

MOST_SAMPLES = 1024
"""On which it is read."""

TOL = 1e-2
"""Of an eigenvalue: a ratio is read to two digits."""


class Watch:
    """Reads λ_max at a few moments of a run; it never moves the model.

    Args:
        problem: what is trained, with the model that is trained.
        seed: of the starting vectors, and of the draw of samples where there are many.
    """

    def __init__(self, problem: Problem, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        if problem.num_samples > MOST_SAMPLES:
            problem = problem.subsampled(MOST_SAMPLES, self._generator)
        self._problem = problem
        self._next = 0
        self.marks: list[SharpnessMark] = []
        self.omission = ""

    def look(self, mark: Mark, share: float, optimizer: torch.optim.Optimizer | None) -> None:
        """Reads the sharpness if it is time to."""
        if self._next >= len(SHARES) or share < SHARES[self._next] or not isfinite(mark.loss):
            return
        while self._next < len(SHARES) and share >= SHARES[self._next]:
            self._next += 1
        try:
            self.marks.append(self._mark(mark, optimizer))
        except ThalwegError as error:
            # A point that cannot be read ends the watch, not the run.
            self.omission, self._next = described(error), len(SHARES)

    def _mark(self, mark: Mark, optimizer: torch.optim.Optimizer | None) -> SharpnessMark:
        point = Surface(self._problem.in_eval_mode()).here()
        operator: SymmetricOperator = point.hessian()
        rule = None if optimizer is None else _rule_of(optimizer)
        epsilon = None if rule is None else rule.epsilon
        if epsilon is not None:
            assert optimizer is not None
            scale = _root_mean_square(optimizer)
            if scale is None:  # before its first step
                rule = None
            else:
                operator = ScaledOperator(operator, (scale + epsilon).rsqrt())
        top = extremes(operator, 1, generator=self._generator, tol=TOL).top
        return SharpnessMark(
            step=mark.step,
            seconds=mark.seconds,
            gradients=mark.gradients,
            sharpness=float(top.values[0]),
            limit=None if rule is None else rule.limit,
            rule="" if rule is None else rule.name,
        )


def _rule_of(optimizer: torch.optim.Optimizer) -> StepRule | None:
    """The rule of an optimizer's step; our own first-order methods step as torch's do."""
    if isinstance(optimizer, GradientDescent | HeavyBall):
        group = optimizer.param_groups[0]
        stand_in = torch.optim.SGD(
            [torch.zeros(1)], lr=float(group["lr"]), momentum=float(group.get("momentum", 0.0))
        )
        return StepRule.of(stand_in)
    return StepRule.of(optimizer)


def _root_mean_square(optimizer: torch.optim.Optimizer) -> Tensor | None:
    """√v̂ as Adam divides by it in its next step, flat; None before its first.

    v̂ = v/(1 − β₂ᵗ), with its bias corrected as in the step.
    """
    pieces: list[Tensor] = []
    for group in optimizer.param_groups:
        for p in group["params"]:
            state = optimizer.state.get(p, {})
            if "exp_avg_sq" not in state:
                return None
            bias = 1 - float(group["betas"][1]) ** float(state["step"])
            pieces.append((state["exp_avg_sq"] / bias).sqrt().reshape(-1))
    return torch.cat(pieces)
