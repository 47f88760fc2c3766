"""Products with the empirical Fisher information of one batch, from the slopes of its samples."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from thalweg._batch import Batch, call_of, num_samples
from thalweg._errors import NonFiniteError, ProblemError
from thalweg._evaluation import Evaluation
from thalweg._loss import known_loss
from thalweg._microbatches import TOLERANCE, parts_of
from thalweg._problem import Problem
from thalweg._reduction import Reduction
from thalweg.surface._jacobian import linearised
from thalweg.surface._route import BatchProduct, Curvature

Forward = Callable[[dict[str, Tensor], Batch], Evaluation]
"""One forward pass of a batch at leaves."""


def empirical_fisher_of(problem: Problem, forward: Forward) -> Curvature:
    """The empirical Fisher information of a problem, given one forward pass of a batch at leaves.

    V ↦ Σ_i ∇s_i ∇s_iᵀ v / M, with s_i the sum of the loss terms of sample i, M their number.

    Cost: 4/3 gradients a product; where the model computes its loss itself, each sample runs alone.
    """

    def by_autograd(
        leaves: dict[str, Tensor], evaluation: Evaluation, batch: Batch
    ) -> BatchProduct:
        sums, num_terms = sums_of_samples(problem, forward, leaves, evaluation, batch)
        slopes = linearised(leaves, sums)
        return lambda v: slopes.pull(slopes.push(v) / num_terms)

    return Curvature("empirical Fisher information", 4 / 3, by_autograd, None)


def sums_of_samples(
    problem: Problem,
    forward: Forward,
    leaves: dict[str, Tensor],
    evaluation: Evaluation,
    batch: Batch,
) -> tuple[Tensor, float]:
    """s_i of every sample, with its graph, and the number of terms that their sum is divided by.

    Raises:
        ProblemError: if the loss is not the mean, or the sum, of what the samples add to it.
    """
    output = evaluation.logits
    if known_loss(problem.loss) is not None and isinstance(output, Tensor):
        sums = _of_known_loss(problem, output, batch)
        reduction = problem.reduction
    else:
        reduction = _reduction_over_samples(problem)
        if problem.loss is not None and _runs_over_samples(output, batch):
            # The model runs once: its output is cut, not its input.
            evaluations = [
                partial(problem.evaluate, lambda *_, z=piece, **__: z) for piece in output.split(1)
            ]
        else:
            evaluations = [partial(forward, leaves)] * num_samples(batch)
        sums = _one_by_one(evaluations, batch, reduction)
    num_terms = 1.0 if reduction.is_sum else reduction.count(batch, evaluation.output)
    _check(float(sums.detach().sum()) / num_terms, evaluation.loss.detach())
    return sums, num_terms


def _of_known_loss(problem: Problem, output: Tensor, batch: Batch) -> Tensor:
    target = call_of(batch, problem.model).target
    terms = _unreduced(problem.loss)(output, target)
    size = num_samples(batch)
    if terms.ndim == 0:
        return terms.reshape(1)
    if len(terms) != size:
        raise ProblemError(
            f"the loss has terms of shape {tuple(terms.shape)} for {size} samples, so that "
            f"thalweg cannot tell which are whose; the empirical Fisher needs an output whose "
            f"first dimension runs over samples"
        )
    return terms.reshape(size, -1).sum(1)


def _unreduced(loss: Callable[..., Tensor] | None) -> Callable[..., Tensor]:
    """A loss of torch's own that returns its terms."""
    if isinstance(loss, nn.Module):
        loss = copy.copy(loss)
        vars(loss)["reduction"] = "none"
        return loss
    assert loss is not None
    return partial(loss, reduction="none")


def _reduction_over_samples(problem: Problem) -> Reduction:
    """The rule that joins single samples, which a single batch does not have to know."""
    if not problem.ranks.is_alone:
        return problem.reduction  # found for several batches, whatever this rank holds
    singles = (part for batch in problem.batches for part in parts_of(batch, 1))
    return problem.with_data(singles).reduction


def _runs_over_samples(output: object, batch: Batch) -> bool:
    return isinstance(output, Tensor) and output.ndim > 0 and len(output) == num_samples(batch)


def _one_by_one(
    evaluations: Sequence[Callable[[Batch], Evaluation]], batch: Batch, reduction: Reduction
) -> Tensor:
    sums: list[Tensor | None] = []
    for evaluate, part in zip(evaluations, parts_of(batch, 1), strict=True):
        try:
            evaluation = evaluate(part)
        except NonFiniteError:
            sums.append(None)  # all padding: 0/0, and none of the terms of the whole
            continue
        count = reduction.count(part, evaluation.output)
        sums.append(evaluation.loss * count if torch.isfinite(evaluation.loss) else None)
    some = next((s for s in sums if s is not None), torch.zeros(()))
    return torch.stack([torch.zeros_like(some) if s is None else s for s in sums])


def _check(joined: float, loss: Tensor) -> None:
    if not abs(joined - float(loss)) <= TOLERANCE * max(abs(joined), abs(float(loss))):
        raise ProblemError(
            f"the loss of a batch is {float(loss):.8g}, its samples alone make {joined:.8g}: they "
            f"interact, or the loss takes a mean that thalweg does not know, so that no sample has "
            f"a slope of its own; use point.ggn() or point.fisher(), or give num_terms=..."
        )
