"""How good a model is on given batches: loss, and accuracy where the targets are classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from thalweg._batch import TARGET_KEYS, Batch, call_of
from thalweg._errors import ProblemError
from thalweg._loss import Kind, known_loss
from thalweg._problem import Problem
from thalweg._reading import reading
from thalweg._reduction import Reduction


@dataclass(frozen=True)
class Score:
    """How good a model is.

    Args:
        loss: mean loss [loss]; NaN or inf where training broke down.
        accuracy: share of targets met, None where the targets are no classes.
    """

    loss: float
    accuracy: float | None


def score(problem: Problem, batches: Sequence[Batch], reduction: Reduction) -> Score:
    """The score of the problem's model on batches, in evaluation mode. Cost: one forward pass.

    The model's own mode is put back.
    """
    modes = [(module, module.training) for module in problem.model.modules()]
    problem.model.eval()
    counts: list[float] = []
    losses: list[float] = []
    hits = total = 0
    try:
        with torch.no_grad():
            for index, batch in enumerate(batches):
                where = f"held-out batch {index}"
                evaluation = problem.evaluate(problem.model, batch, where)
                counts.append(reduction.count(batch, evaluation.output))
                losses.append(float(evaluation.loss))
                target = call_of(batch, problem.model).target
                met = _hits(problem, evaluation.logits, target)
                if met is not None:
                    hits, total = hits + int(met.sum()), total + met.numel()
    finally:
        for module, mode in modes:
            module.training = mode
    return Score(reduction.total(losses, counts), hits / total if total else None)


def _hits(problem: Problem, logits: Any, target: Any) -> Tensor | None:
    """Which targets are met, None where the targets are no classes."""
    if not isinstance(logits, Tensor) or not isinstance(target, Tensor):
        return None
    known = known_loss(problem.loss)
    if known and known.kind in (Kind.BINARY, Kind.BINARY_LOGITS):
        middle = 0.0 if known.kind is Kind.BINARY_LOGITS else 0.5
        return (logits > middle) == (target > 0.5)
    if target.is_floating_point() or logits.ndim != target.ndim + 1:
        return None
    if problem.loss is None and target.ndim > 1:
        # A language model compares each place with the next one, and does not say so.
        return None
    # Cross-entropy keeps classes in dimension 1, language models in the last.
    classes = 1 if known or logits.ndim == 2 else -1
    if logits.shape[classes] == 1:
        # One output is no choice between classes, whatever a loss of their own makes of it.
        return None
    counted = target != (known.ignore_index if known else -100)
    met: Tensor = (logits.argmax(classes) == target)[counted]
    return met


def constant_loss(problem: Problem) -> float | None:
    """The loss of the best answer that ignores the input; None where it is not known.

    Cross-entropy: the entropy −Σ_c p_c ln p_c of the class frequencies, also of probabilities as
    targets. Binary cross-entropy: the same of each output's two classes, averaged over outputs.
    Mean of squares: the variance of each output's targets, averaged.
    """
    known = known_loss(problem.loss)
    if known is None or known.reduction != "mean" or known.is_rescaled or known.label_smoothing:
        return None
    targets = [call_of(batch, problem.model).target for batch in problem.batches]
    if not all(isinstance(t, Tensor) for t in targets):
        return None
    if known.kind in (Kind.CLASSES, Kind.LOG_CLASSES) and not targets[0].is_floating_point():
        flat = torch.cat([t.reshape(-1) for t in targets])
        counts = torch.bincount(flat[flat != known.ignore_index]).double()
        return float(torch.special.entr(counts / counts.sum()).sum())
    if len({t.shape[1:] for t in targets}) != 1:
        return None
    joined = torch.cat(targets).double()
    match known.kind:
        case Kind.CLASSES if joined.ndim == 2:
            return float(torch.special.entr(joined.mean(0)).sum())
        case Kind.BINARY | Kind.BINARY_LOGITS:
            share = joined.mean(0)
            return float((torch.special.entr(share) + torch.special.entr(1 - share)).mean())
        case Kind.SQUARED:
            return float(joined.var(dim=0, unbiased=False).mean())
    return None


def shuffled_loss(problem: Problem, generator: torch.Generator) -> float | None:
    """The loss at the point against the targets in random order; None where that has no sense.

    What a network has learned of its input shows in how much worse it does on other samples'
    targets; of one that knows nothing yet the two losses are alike. Cost: one forward pass.
    """
    targets = [call_of(batch, problem.model).target for batch in problem.batches]
    if not (problem.loss_takes_target and all(isinstance(t, Tensor) and t.ndim for t in targets)):
        return None
    if len({t.shape[1:] for t in targets}) != 1:
        return None
    pool = torch.cat(targets)
    order = torch.randperm(len(pool), generator=generator).to(pool.device)
    shuffled = pool[order].split([len(t) for t in targets])
    batches = [_with_target(*pair) for pair in zip(problem.batches, shuffled, strict=True)]
    try:
        return _mean_loss(problem.with_data(batches), problem.reduction)
    except ProblemError:
        # A loss may be undefined for targets that do not belong to the input.
        return None


def _mean_loss(problem: Problem, reduction: Reduction) -> float:
    counts: list[float] = []
    losses: list[float] = []
    with reading(), torch.no_grad():
        for batch in problem.batches:
            evaluation = problem.forward(problem.parameters, batch)
            counts.append(reduction.count(batch, evaluation.output))
            losses.append(float(evaluation.loss))
    return reduction.total(losses, counts)


def _with_target(batch: Batch, target: Tensor) -> Batch:
    if isinstance(batch, Mapping):
        key = next(key for key in TARGET_KEYS if key in batch)
        return {**batch, key: target}
    return (batch if isinstance(batch, Tensor) else batch[0], target)
