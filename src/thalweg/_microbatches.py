"""A batch in smaller parts that make the same loss together."""

from __future__ import annotations

from torch.nn.utils.rnn import PackedSequence

from thalweg._batch import Batch, num_samples, take
from thalweg._errors import NonFiniteError, ProblemError
from thalweg._reduction import Evaluate, Reduction

TOLERANCE = 1e-5
"""How far losses that are the same may differ: some models compute a part, such as the loss, in
float32 whatever their dtype."""


def parts_of(batch: Batch, size: int) -> list[Batch]:
    """The samples of a batch, `size` at a time.

    Raises:
        ProblemError: if they are packed.
    """
    pieces = batch if isinstance(batch, list | tuple) else ()
    if any(isinstance(piece, PackedSequence) for piece in pieces):
        raise ProblemError(
            "packed sequences cannot be divided into microbatches; give padded ones, or smaller "
            "batches to begin with"
        )
    ends = range(0, num_samples(batch), size)
    return [take(batch, slice(start, start + size)) for start in ends]


def divided(batch: Batch, size: int, evaluate: Evaluate, reduction: Reduction) -> list[Batch]:
    """Parts of at most `size` samples whose losses, joined by the rule, are the loss of the batch.

    A part in which no term counts (all padding) has no loss of its own, and is joined to the next
    one that has.

    Raises:
        ProblemError: if they are not: samples interact.
    """
    total = num_samples(batch)
    whole, _ = evaluate(batch)
    if total <= size:
        return [batch]
    parts: list[tuple[int, int, float, float]] = []  # start, end, loss, number of terms
    start = 0
    while start < total:
        end = min(start + size, total)
        while (read := _read(batch, start, end, evaluate, reduction)) is None:
            if end == total:  # nothing counts from here on: joined to what was before
                start = parts.pop()[0] if parts else 0
            end = min(end + size, total)
        parts.append((start, end, *read))
        start = end
    counts = [count for *_, count in parts]
    losses = [loss for _, _, loss, _ in parts]
    joined = reduction.total(losses, counts)
    size_of_terms = reduction.total([abs(loss) for loss in losses], counts)
    if abs(joined - whole) > TOLERANCE * max(size_of_terms, abs(whole)):
        raise ProblemError(
            f"a batch of {total} samples has the loss {whole:.8g}, its parts together "
            f"{joined:.8g}: the samples interact in the model or in the loss, so that smaller "
            f"batches are another problem; read the batches whole, or give num_terms=... if the "
            f"loss takes a mean that thalweg does not know"
        )
    return [take(batch, slice(start, end)) for start, end, *_ in parts]


def _read(
    batch: Batch, start: int, end: int, evaluate: Evaluate, reduction: Reduction
) -> tuple[float, float] | None:
    """Loss and number of terms of some samples, None where no term counts."""
    part = take(batch, slice(start, end))
    try:
        loss, output = evaluate(part)
    except NonFiniteError:
        return None
    return loss, reduction.count(part, output)
