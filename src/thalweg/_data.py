"""Data of any form, read once into a tuple of batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from thalweg._batch import Batch, map_tensors, num_samples, tensors_in
from thalweg._errors import ProblemError
from thalweg._reading import reading

MAX_DATA_BYTES = 4 * 2**30
"""Data are read into memory once, so that every reading sees the same; this is the most."""


class Batches(tuple[Batch, ...]):
    """Batches that were read and need no second look."""


def read(data: Any, name: str, takes_target: bool, may_be_empty: bool = False) -> tuple[Batch, ...]:
    """The batches of any form of data; batches without samples are left out if there may be none.

    Raises:
        ProblemError: if there are none, or they cannot be read twice, or are too many.
    """
    if isinstance(data, Batches):
        return data
    if isinstance(data, Tensor | Mapping | tuple):
        with reading():
            return _checked((data,), name, may_be_empty)
    if isinstance(data, Dataset):
        raise ProblemError(
            f"{name} is a {type(data).__name__}, a collection of single samples; pass "
            f"torch.utils.data.DataLoader({name}, batch_size=64) to make batches of them"
        )
    if isinstance(data, Iterator) or not isinstance(data, Iterable):
        raise ProblemError(
            f"{name} is a {type(data).__name__}, which reading would use up or cannot run through; "
            f"pass a tuple (x, y), a list of batches or a DataLoader"
        )
    if (
        isinstance(data, list)
        and len(data) == 2
        and takes_target
        and all(isinstance(item, Tensor) for item in data)
    ):
        raise ProblemError(
            f"{name} is a list of two tensors, which could be one (input, target) or two batches; "
            f"write the tuple (x, y) for one batch, or [(x1, y1), (x2, y2)] for two"
        )
    with reading(), _keeping_generators(data):
        return _checked(_guarded(data, name), name, may_be_empty)


def _guarded(data: Iterable[Batch], name: str) -> Iterator[Batch]:
    try:
        yield from data
    except Exception as error:
        raise ProblemError(
            f"{name} raised {type(error).__name__} while its batches were read: {error}; run "
            f"through it by hand to see more"
        ) from error


@contextmanager
def _keeping_generators(loader: Any) -> Iterator[None]:
    """Puts back what a DataLoader draws from a generator of its owner's."""
    owners = (loader, getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None))
    drawn_from = [getattr(owner, "generator", None) for owner in owners]
    states = [(g, g.get_state()) for g in drawn_from if isinstance(g, torch.Generator)]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


def _checked(batches: Iterable[Batch], name: str, may_be_empty: bool) -> tuple[Batch, ...]:
    kept: list[Batch] = []
    num_bytes = 0
    for batch in batches:
        if not tensors_in(batch):
            raise ProblemError(
                f"batch {len(kept)} of {name} is a {type(batch).__name__} without a tensor in it; "
                f"convert arrays with torch.as_tensor(...)"
            )
        if num_samples(batch) == 0:
            if may_be_empty:
                continue
            raise ProblemError(
                f"batch {len(kept)} of {name} holds no samples ({type(batch).__name__}); give "
                f"batches of at least one sample, as (input, target), a dict or a tensor"
            )
        # A tensor made under inference_mode cannot be saved for a derivative.
        kept.append(map_tensors(batch, lambda t: t.clone() if t.is_inference() else t.detach()))
        num_bytes += sum(t.numel() * t.element_size() for t in tensors_in(batch))
        if num_bytes > MAX_DATA_BYTES:
            raise ProblemError(
                f"{name} holds more than {MAX_DATA_BYTES >> 30} GiB; give a part of it, for "
                f"instance torch.utils.data.Subset(dataset, range(10_000)) or a list of the first "
                f"batches"
            )
    if not kept and not may_be_empty:
        raise ProblemError(
            f"{name} holds no batches: the loader or list is empty; give at least one batch"
        )
    return Batches(kept)
