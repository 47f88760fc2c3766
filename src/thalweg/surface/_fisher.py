"""Products with the true Fisher information of one batch, in closed form in the outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from thalweg._batch import Batch, call_of
from thalweg._errors import ProblemError
from thalweg._evaluation import Evaluation
from thalweg._loss import Kind, KnownLoss, known_loss
from thalweg._problem import Problem
from thalweg.surface._ggn import gram_product, output_of
from thalweg.surface._route import BatchProduct, Curvature
from thalweg.tape import Tape


def fisher_of(problem: Problem) -> Curvature:
    """The true Fisher information of a problem.

    V ↦ Jᵀ F_z J v, with F_z = E_{y ~ p(y|z)}[∇_z ln p ∇_z ln pᵀ] per term of the mean.
    """

    def by_autograd(
        leaves: dict[str, Tensor], evaluation: Evaluation, batch: Batch
    ) -> BatchProduct:
        curve = _information_at(problem, evaluation, batch)
        return gram_product(leaves, evaluation.logits, curve)

    def by_tape(tape: Tape, evaluation: Evaluation, batch: Batch) -> BatchProduct:
        return tape.gram(_information_at(problem, evaluation, batch))

    return Curvature("Fisher information", 4 / 3, by_autograd, by_tape)


def _information_at(
    problem: Problem, evaluation: Evaluation, batch: Batch
) -> Callable[[Tensor], Tensor]:
    known = known_loss(problem.loss)
    if known is None or known.kind is Kind.ELEMENTWISE or known.is_rescaled:
        raise ProblemError(
            "the Fisher information needs the likelihood behind the loss, which is known for "
            "cross_entropy, nll_loss, binary_cross_entropy(_with_logits) and mse_loss without "
            "weights; use point.ggn() for this loss"
        )
    if known.label_smoothing:
        raise ProblemError(
            "cross-entropy with label smoothing is not a likelihood; use point.ggn()"
        )
    output = output_of(evaluation).detach()
    target = call_of(batch, problem.model).target
    terms = 1.0 if known.reduction == "sum" else known.num_terms(output, target)
    return _information(known, output, target, terms)


def _information(
    known: KnownLoss, z: Tensor, target: Any, terms: float
) -> Callable[[Tensor], Tensor]:
    """T ↦ F_z t / terms."""
    if known.kind is Kind.SQUARED:
        # exp(−(z−y)²) is a Gaussian of variance ½: F_z = 4 · ½.
        return lambda t: 2.0 * t / terms
    if known.kind is Kind.BINARY_LOGITS:
        p = torch.sigmoid(z)
        return lambda t: p * (1 - p) * t / terms
    if known.kind is Kind.BINARY:
        # Where a probability rounds to 0 or 1, torch's own backward has the same floor.
        return lambda t: t / (z * (1 - z)).clamp_min(1e-12) / terms
    counted = _counted(known, z, target)
    if known.kind is Kind.LOG_CLASSES:
        return lambda t: counted * z.exp() * t / terms
    classes = 1 if z.ndim > 1 else 0
    p = torch.softmax(z, classes)
    return lambda t: counted * p * (t - (p * t).sum(classes, keepdim=True)) / terms


def _counted(known: KnownLoss, z: Tensor, target: Any) -> Tensor:
    """1 where a term counts, 0 where its target is padding; broadcasts over classes."""
    if target.is_floating_point():
        return torch.ones((), dtype=z.dtype, device=z.device)
    mask: Tensor = (target != known.ignore_index).to(z.dtype)
    return mask.unsqueeze(1) if z.ndim > 1 else mask
