"""K-FAC as a baseline: curvlinops' factors and inverse, and the damped natural gradient."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from thalweg._batch import call_of
from thalweg.race import Contender, Course
from thalweg.race._trial import Setting

EVERY = 20
"""Steps between renewals of the factors and their inverses."""


class NaturalGradient(Contender):
    """d = μ d_prev − lr (F + λ)⁻¹ g with the Kronecker-factored Fisher, clipped in its metric.

    Source: Martens and Grosse 2015, "Optimizing neural networks with Kronecker-factored approximate
    curvature", §6.3 for the factored damping; Ba et al. 2017, "Distributed second-order
    optimization using Kronecker-factored approximations", §5 for the clipping: half the squared
    length of a step in the metric is at most `trust`, in the unit of the loss's mean over pixels.
    Factors are those of one minibatch, renewed every 20 steps.
    """

    def __init__(self) -> None:
        settings = tuple(
            {"lr": lr, "damping": damping, "trust": trust, "batch_size": 500}
            for lr, damping, trust in (
                (0.3, 3e-3, 1e-4),
                (0.3, 1e-3, 1e-4),
                (0.3, 3e-3, 3e-5),
                (1.0, 1e-3, 3e-5),
                (0.3, 1e-2, 3e-4),
                (0.3, 3e-4, 1e-5),
            )
        )
        super().__init__(
            "K-FAC of curvlinops, momentum 0.9", settings, package="curvlinops-for-pytorch"
        )

    @property
    def missing(self) -> str:
        """Why it cannot race here; "" where it can."""
        try:
            import curvlinops  # noqa: F401
        except ImportError:
            return "the package curvlinops-for-pytorch is not installed"
        return ""

    def run(self, course: Course, setting: Setting) -> None:
        """Gradient, preconditioned step.

        Args:
            course: the loss and the data.
            setting: learning rate, damping and trust.
        """
        from curvlinops import KFACInverseLinearOperator, KFACLinearOperator

        inverse = None
        velocity = [torch.zeros_like(p) for p in course.params]
        scale = pixels_of(course)
        for number in course.steps():
            course.gradient()
            slopes = [
                torch.zeros_like(p) if p.grad is None else p.grad / scale for p in course.params
            ]
            if number % EVERY == 0:
                call = call_of(course.batches[0], course.model)
                factors = KFACLinearOperator(
                    course.model,
                    nn.BCEWithLogitsLoss(),
                    course.params,
                    [(call.args[0], call.target)],
                    check_deterministic=False,
                    seed=number,
                    separate_weight_and_bias=False,
                )
                inverse = KFACInverseLinearOperator(
                    factors, damping=float(setting["damping"]), use_heuristic_damping=True
                )
                # A forward pass, and a backward pass from sampled targets.
                course.spend(1.0)
            assert inverse is not None
            directions = inverse @ slopes
            length = sum(float((d * g).sum()) for d, g in zip(directions, slopes, strict=True))
            lr = float(setting["lr"])
            clipped = min(lr, (2 * float(setting["trust"]) / max(length, 1e-30)) ** 0.5)
            with torch.no_grad():
                for p, v, d in zip(course.params, velocity, directions, strict=True):
                    v.mul_(0.9).sub_(d, alpha=clipped)
                    p.add_(v)


def pixels_of(course: Course) -> float:
    """The factor by which the problem's loss is larger than the mean that curvlinops knows."""
    loss = course.problem.loss
    assert isinstance(loss, partial)
    return float(loss.keywords["weight"])
