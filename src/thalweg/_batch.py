"""One batch of data, in every form people use, and how it is fed to a model."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from thalweg._errors import ProblemError

Batch = Any
"""`(input, target)`, a dict for `model(**batch)`, or a tensor. Inputs may nest."""

TARGET_KEYS = ("labels", "label", "targets", "target", "y")
"""Where a dict batch keeps what the loss compares with, in the order of looking."""


@dataclass(frozen=True)
class Call:
    """What a batch asks of the model, and what the loss compares the output with.

    Args:
        args: positional arguments of the model.
        kwargs: keyword arguments of the model.
        target: what the loss compares with, None where the batch names none.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    target: Any


def call_of(batch: Batch, model: nn.Module) -> Call:
    """Reads a batch: `(input, target)`, `{...}` or a bare tensor (its own target).

    Raises:
        ProblemError: if it is none of these.
    """
    if isinstance(batch, Tensor):
        return Call((batch,), {}, batch)
    if isinstance(batch, Mapping):
        target = next((batch[key] for key in TARGET_KEYS if key in batch), None)
        return Call((), _accepted(batch, model), target)
    if isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) == 2:
        inputs, target = batch
        if isinstance(inputs, Mapping):
            return Call((), dict(inputs), target)
        if isinstance(inputs, Sequence) and not isinstance(inputs, PackedSequence):
            return Call(tuple(inputs), {}, target)
        return Call((inputs,), {}, target)
    size = f" of {len(batch)}" if isinstance(batch, Sequence) else ""
    raise ProblemError(
        f"a batch is a {type(batch).__name__}{size}; give (input, target), a dict of the model's "
        f"arguments, or a tensor; several inputs go as ((input1, input2), target)"
    )


def _accepted(batch: Mapping[str, Any], model: nn.Module) -> dict[str, Any]:
    """The entries that the model's forward takes; all of them where it takes **kwargs."""
    parameters = inspect.signature(model.forward).parameters.values()
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return dict(batch)
    names = [p.name for p in parameters]
    taken = {key: value for key, value in batch.items() if key in names}
    if names and not taken:
        raise ProblemError(
            f"a batch has the entries {list(batch)}, and the model's forward takes {names}: name "
            f"the entries after the arguments, or give (input, target)"
        )
    return taken


_SMALL = 1024
"""Batches of fewer numbers are tried whole."""


def map_tensors(tree: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same nest of dicts, lists and tuples with `function` applied to its tensors."""
    if isinstance(tree, Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: map_tensors(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(map_tensors(value, function) for value in tree))
    if isinstance(tree, list | tuple):
        return type(tree)(map_tensors(value, function) for value in tree)
    return tree


def tensors_in(tree: Any) -> list[Tensor]:
    """The tensors of a nest of dicts, lists and tuples, in order."""
    if isinstance(tree, Tensor):
        return [tree]
    return [tensor for branch in _parts(tree) for tensor in tensors_in(branch)]


def _parts(tree: Any) -> Sequence[Any]:
    if isinstance(tree, Mapping):
        return tuple(tree.values())
    return tree if isinstance(tree, list | tuple) else ()


def num_samples(batch: Batch) -> int:
    """The leading dimension that most tensors share; 0 without tensors.

    In doubt that of the last, since targets come last and run over samples even where the inputs
    run over time first.
    """
    lengths = Counter(len(tensor) for tensor in reversed(tensors_in(batch)) if tensor.ndim)
    return lengths.most_common(1)[0][0] if lengths else 0


def take(batch: Batch, index: Tensor | slice) -> Batch:
    """The samples of a batch at `index`; tensors that do not run over samples are kept whole."""
    size = num_samples(batch)
    return map_tensors(batch, lambda t: t[index] if t.ndim and len(t) == size else t)


def part_of(batch: Batch) -> Batch:
    """A sixteenth of the samples of a batch, to try things on; of a few samples all."""
    size = num_samples(batch)
    return (
        take(batch, slice(size // 16)) if size > 64 or (size >= 16 and _is_heavy(batch)) else batch
    )


def first_samples(batch: Batch, most: int) -> Batch:
    """A copy of the first samples, so many or all there are: enough to see what a pass does."""
    return take(batch, torch.arange(min(most, num_samples(batch))))


def _is_heavy(batch: Batch) -> bool:
    """Whether samples are so large that a sixteenth of them is work enough to measure."""
    return sum(tensor.numel() for tensor in tensors_in(batch)) > 64 * num_samples(batch)


def concatenate(batches: Sequence[Batch]) -> Batch:
    """One batch of all samples; what does not run over samples must be equal in all batches.

    Raises:
        ValueError: if their shapes or forms do not allow it (ragged or packed sequences).
    """
    if any(isinstance(part, PackedSequence) for batch in batches for part in _parts(batch)):
        raise ValueError("packed sequences, which are neither joined nor divided")
    if len(batches) == 1:
        return batches[0]
    columns = [tensors_in(batch) for batch in batches]
    if len({len(column) for column in columns}) != 1:
        raise ValueError("batches of different form")
    sizes = [num_samples(batch) for batch in batches]
    joined = iter([_joined(pieces, sizes) for pieces in zip(*columns, strict=True)])
    return map_tensors(batches[0], lambda _: next(joined))


def _joined(pieces: Sequence[Tensor], sizes: Sequence[int]) -> Tensor:
    runs = [p.ndim > 0 and len(p) == size for p, size in zip(pieces, sizes, strict=True)]
    if all(runs) and all(p.shape[1:] == pieces[0].shape[1:] for p in pieces):
        return torch.cat(list(pieces))
    if not any(runs) and all(torch.equal(p, pieces[0]) for p in pieces):
        return pieces[0]
    raise ValueError("tensors that do not run over samples, or ragged ones")


def describe(tree: Any) -> str:
    """The tensors of a batch in words, for messages: `float32 (7, 3) on cpu`."""
    return ", ".join(
        f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)} on {t.device}"
        for t in tensors_in(tree)
    )
