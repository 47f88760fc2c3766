"""A random part of a problem's data, and the rest of it."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from thalweg._batch import Batch, concatenate, num_samples, take

Batches = tuple[Batch, ...]


def drawn(
    batches: Sequence[Batch], size: int, generator: torch.Generator
) -> tuple[Batches, Batches]:
    """About `size` samples drawn at random, and the others; either may be empty.

    Batches that cannot be joined (ragged sequences) are drawn whole.
    """
    try:
        pool = concatenate(batches)
    except ValueError:
        return _drawn_whole(batches, size, generator)
    order = torch.randperm(num_samples(pool), generator=generator)
    parts = order[:size], order[size:]
    chosen, rest = (((take(pool, part),) if len(part) else ()) for part in parts)
    return chosen, rest


def _drawn_whole(
    batches: Sequence[Batch], size: int, generator: torch.Generator
) -> tuple[Batches, Batches]:
    order = torch.randperm(len(batches), generator=generator).tolist()
    chosen: list[Batch] = []
    while order and sum(map(num_samples, chosen)) < size:
        chosen.append(batches[order.pop()])
    return tuple(chosen), tuple(batches[i] for i in order)
