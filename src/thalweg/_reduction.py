"""How the losses of several batches make one number: over how many terms each takes its mean."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from thalweg._batch import Batch, call_of, concatenate, num_samples, take
from thalweg._errors import NonFiniteError, ProblemError
from thalweg._loss import known_loss, logits_of
from thalweg._ranks import ALONE, Alone

Evaluate = Callable[[Batch], tuple[float, Any]]
"""The loss of a batch and the model's output."""

Count = Callable[[Batch, Any], float]
"""The number of loss terms of a batch, from the batch and the model's output."""

PADDING = -100
"""The target that torch and Hugging Face losses leave out unless told otherwise."""


@dataclass(frozen=True)
class Reduction:
    """The rule that joins batches: L = Σ_b w_b ℓ_b / Σ_b w_b, or L = Σ_b ℓ_b.

    Args:
        count: w_b, the number of terms in the mean of a batch.
        is_sum: whether the loss of a batch is already a sum, so that batches simply add.
        said: how it was found, in words.
    """

    count: Count
    is_sum: bool
    said: str

    def weights(self, counts: Sequence[float]) -> tuple[float, ...]:
        """The factor of each batch's loss in the total.

        Raises:
            ProblemError: if there is no term at all.
        """
        if self.is_sum:
            return (1.0,) * len(counts)
        total = sum(counts)
        if not total > 0 or min(counts) < 0:
            raise ProblemError(
                f"the batches count {', '.join(f'{c:g}' for c in counts[:5])} loss terms "
                f"({self.said}); every count must be 0 or more and their sum positive: mend the "
                f"targets, or Problem(..., num_terms=...)"
            )
        return tuple(count / total for count in counts)

    def total(self, losses: Sequence[float], counts: Sequence[float]) -> float:
        """L, of the losses of the batches and their numbers of terms."""
        return sum(w * loss for w, loss in zip(self.weights(counts), losses, strict=True))


def reduction_of(
    model: nn.Module,
    loss: Callable[..., Any] | None,
    evaluate: Evaluate,
    batches: Sequence[Batch],
    ranks: Alone = ALONE,
) -> Reduction:
    """Finds the reduction: known for torch's losses, otherwise recognised from values.

    An unknown loss is called on some data and on two parts of them that differ in size, and in
    their targets as far as can be. A mean over w terms satisfies (w₁ + w₂) ℓ = w₁ ℓ₁ + w₂ ℓ₂, a
    sum ℓ = ℓ₁ + ℓ₂. The rule that fits the data of every rank is taken.

    Raises:
        ProblemError: if there are several batches and no rule fits them.
    """
    if known := known_loss(loss):

        def count(batch: Batch, output: Any) -> float:
            return known.num_terms(logits_of(output), call_of(batch, model).target)

        said = f"{known.kind.value}, reduction {known.reduction!r}"
        return Reduction(count, known.reduction == "sum", said)
    as_it_is = Reduction(lambda batch, output: 1.0, False, "one batch, taken as it is")
    if ranks.is_alone and len(batches) == 1:
        return as_it_is
    found = ranks.gather(lambda: (len(batches), _fitting(model, evaluate, batches)))
    for said, candidate in _candidates(model).items():
        if all(said in fitting for size, fitting in found if size):
            return Reduction(candidate, False, f"a mean over {said}, recognised from its values")
    if all(_SUM in fitting for size, fitting in found if size):
        return Reduction(lambda batch, output: 1.0, True, "a sum, recognised from its values")
    if sum(size for size, _ in found) == 1:
        return as_it_is
    raise ProblemError(
        "thalweg cannot tell over how many terms the loss takes its mean (it is neither a mean "
        "over samples or unpadded targets nor a sum), so it cannot join several batches: pass "
        "Problem(..., num_terms=lambda batch: ...), or all data as one batch"
    )


_SUM, _NEXT = "a sum", "unpadded next tokens"


def _fitting(model: nn.Module, evaluate: Evaluate, batches: Sequence[Batch]) -> set[str]:
    """The rules that fit some of the data, by name; none where there are none."""
    if not batches:
        return set()
    whole, parts = _divided(batches, model)
    value, output = evaluate(whole)
    values = [_value_or_nan(evaluate, part) for part in parts]
    fitting = {_SUM} if _agree(sum(values), value) else set()
    for said, candidate in _candidates(model).items():
        if said == _NEXT and not _is_next_token(value, output, whole, model):
            continue
        weighed = [(candidate(part, None), v) for part, v in zip(parts, values, strict=True)]
        # A part without a single term is NaN and weighs nothing.
        terms = [(w, v) for w, v in weighed if w]
        if terms and _agree(sum(w * v for w, v in terms), value * sum(w for w, _ in terms)):
            fitting.add(said)
    return fitting


def _value_or_nan(evaluate: Evaluate, part: Batch) -> float:
    try:
        return evaluate(part)[0]
    except NonFiniteError:
        return nan


def _divided(batches: Sequence[Batch], model: nn.Module) -> tuple[Batch, list[Batch]]:
    """Some data and two uneven parts of them, sorted by target so that weights by class show."""
    few = [batches[0], batches[len(batches) // 2], batches[-1]]
    try:
        whole = concatenate(few if len(batches) > 2 else batches)
    except ValueError:
        whole = max(batches, key=lambda batch: len(set(_target_sums(batch, model))))
    if num_samples(whole) < 2:
        # One sample, taken twice, still tells a mean from a sum.
        return concatenate([whole, whole]), [whole, whole]
    size = num_samples(whole)
    sums = _target_sums(whole, model)
    order = torch.tensor(sorted(range(size), key=lambda i: sums[i]))
    cut = max(1, size // 3)
    return whole, [take(whole, order[:cut]), take(whole, order[cut:])]


def _target_sums(batch: Batch, model: nn.Module) -> list[float]:
    """The sum of each sample's target, padding included; zeros where there is none."""
    target, size = call_of(batch, model).target, num_samples(batch)
    if not isinstance(target, Tensor) or target.shape[:1] != (size,):
        return [0.0] * size
    sums: list[float] = target.reshape(size, -1).double().sum(1).tolist()
    return sums


def _target_of(batch: Batch, model: nn.Module) -> Tensor | None:
    """The target of a batch, where it consists of classes."""
    target = call_of(batch, model).target
    return target if isinstance(target, Tensor) and not target.is_floating_point() else None


def _candidates(model: nn.Module) -> dict[str, Count]:
    """What a mean may run over, by name; the first that fits is taken."""

    def unpadded(batch: Batch, _: Any) -> float:
        target = _target_of(batch, model)
        return float(num_samples(batch) if target is None else (target != PADDING).sum())

    def shifted(batch: Batch, _: Any) -> float:
        target = _target_of(batch, model)
        return 0.0 if target is None else float((target[..., 1:] != PADDING).sum())

    return {
        _NEXT: shifted,
        "unpadded targets or samples": unpadded,
        "samples": lambda batch, _: float(num_samples(batch)),
    }


def _is_next_token(value: float, output: Any, batch: Batch, model: nn.Module) -> bool:
    """Whether a loss is the cross-entropy of the logits with the target one place on."""
    logits, target = logits_of(output), _target_of(batch, model)
    if target is None:
        return False
    if not isinstance(logits, Tensor) or logits.shape[:-1] != target.shape or target.ndim < 2:
        return False
    num_classes = logits.shape[-1]
    ahead = target[..., 1:].reshape(-1).long()
    counted = ahead[ahead != PADDING]
    if not counted.numel() or counted.min() < 0 or counted.max() >= num_classes:
        return False
    scores = logits[..., :-1, :].reshape(-1, num_classes).double()
    return _agree(float(F.cross_entropy(scores, ahead, ignore_index=PADDING)), value)


def _agree(a: float, b: float) -> bool:
    # Losses may be computed in float32 and over thousands of terms.
    return abs(a - b) <= 1e-5 * max(abs(a), abs(b), torch.finfo(torch.float32).tiny)
