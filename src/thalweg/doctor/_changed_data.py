"""Changes of the data: of what is trained on, and in the same way of what is held out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from thalweg._batch import TARGET_KEYS, Batch
from thalweg._data import Batches
from thalweg._problem import Problem

Change = Callable[[Tensor], Tensor]


def table_of(problem: Problem) -> Tensor | None:
    """The inputs of all training data, (N, features...); None where they are no single tensor."""
    return _joined([_input(batch) for batch in problem.batches])


def targets_of(problem: Problem) -> Tensor | None:
    """The targets of all training data; None where they are no single tensor."""
    return _joined([target_of(batch) for batch in problem.batches])


def with_inputs(problem: Problem, change: Change) -> Problem:
    """The problem with every batch's input changed."""
    return _mapped(problem, lambda batch: _put(batch, change, is_target=False))


def with_targets(problem: Problem, change: Change) -> Problem:
    """The problem with every batch's target changed."""
    return _mapped(problem, lambda batch: _put(batch, change, is_target=True))


def with_rows(problem: Problem, keeps: Callable[[Batch], Tensor]) -> Problem:
    """The problem with some samples only; empty batches are left out."""

    def kept(batches: Sequence[Batch]) -> list[Batch]:
        cut = [_cut(batch, keeps(batch)) for batch in batches]
        return [batch for batch in cut if len(_first(batch))]

    return _with(problem, kept(problem.batches), kept(problem.test_batches))


def rows_of(batch: Batch) -> list[Tensor]:
    """The floating tensors of a batch that have its samples along their first dimension."""
    parts = batch.values() if isinstance(batch, Mapping) else batch
    tensors = [batch] if isinstance(batch, Tensor) else list(parts)
    size = len(_first(batch))
    return [t for t in tensors if isinstance(t, Tensor) and t.is_floating_point()
            and t.ndim and len(t) == size]  # fmt: skip


def is_finite(batch: Batch) -> Tensor:
    """Which samples hold no NaN and no infinity, one truth value each."""
    rows = [t.reshape(len(t), -1).isfinite().all(1) for t in rows_of(batch)]
    return torch.stack(rows).all(0) if rows else torch.ones(len(_first(batch)), dtype=torch.bool)


def _mapped(problem: Problem, change: Callable[[Batch], Batch]) -> Problem:
    return _with(
        problem, [change(b) for b in problem.batches], [change(b) for b in problem.test_batches]
    )


def _with(problem: Problem, data: list[Batch], test: list[Batch]) -> Problem:
    return replace(problem.with_data(data), test=Batches(test) if test else None)


def _first(batch: Batch) -> Tensor:
    if isinstance(batch, Tensor):
        return batch
    parts = batch.values() if isinstance(batch, Mapping) else batch
    return next(part for part in parts if isinstance(part, Tensor))


def _cut(batch: Batch, keep: Tensor) -> Batch:
    size = len(keep)

    def cut(value: object) -> object:
        is_rows = isinstance(value, Tensor) and value.ndim and len(value) == size
        return value[keep] if is_rows and isinstance(value, Tensor) else value

    if isinstance(batch, Tensor):
        return batch[keep]
    if isinstance(batch, Mapping):
        return {key: cut(value) for key, value in batch.items()}
    return tuple(cut(value) for value in batch)


def _input(batch: Batch) -> Tensor | None:
    if isinstance(batch, Mapping):
        found = [v for k, v in batch.items() if k not in TARGET_KEYS]
        first = found[0] if len(found) == 1 else None
    else:
        first = None if isinstance(batch, Tensor) else batch[0]
    is_table = isinstance(first, Tensor) and first.is_floating_point() and first.ndim > 1
    return first if is_table else None


def target_of(batch: Batch) -> Tensor | None:
    """The target of a batch, None where it is no tensor."""
    if isinstance(batch, Tensor):
        return None
    if isinstance(batch, Mapping):
        found = next((batch[key] for key in TARGET_KEYS if key in batch), None)
    else:
        found = batch[1] if len(batch) == 2 else None
    return found if isinstance(found, Tensor) else None


def _put(batch: Batch, change: Change, *, is_target: bool) -> Batch:
    if isinstance(batch, Mapping):
        return {
            key: change(value) if (key in TARGET_KEYS) == is_target else value
            for key, value in batch.items()
        }
    x, y = batch
    return (x, change(y)) if is_target else (change(x), y)


def _joined(pieces: Sequence[Tensor | None]) -> Tensor | None:
    known = [piece for piece in pieces if piece is not None]
    if not known or len(known) < len(pieces) or len({p.shape[1:] for p in known}) != 1:
        return None
    return torch.cat(known)
