"""What every training on a copy has in common: threads, parameters, data set apart, and words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from thalweg._batch import Batch, call_of, num_samples
from thalweg._errors import ProblemError, ThalwegError
from thalweg._nonfinite import birthplace
from thalweg._problem import Problem
from thalweg._sampling import drawn

SMALL_STEP = 2e8
"""Operations in an optimizer step below which one thread is enough: some milliseconds of work."""


def parameters_of(model: nn.Module) -> list[nn.Parameter]:
    """What an optimizer is given: the trainable parameters."""
    return [p for p in model.parameters() if p.requires_grad]


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Runs its body on that many threads of torch's, and puts the caller's number back."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def num_threads(problem: Problem, batch_size: int) -> int:
    """One for small steps, where handing out the work costs more than it saves.

    A step takes about 6 n B operations for n parameters and B samples, more for convolutions.
    """
    num_parameters = sum(p.numel() for p in problem.model.parameters())
    is_small = 6 * num_parameters * batch_size < SMALL_STEP
    return 1 if is_small and not _has_convolution(problem) else torch.get_num_threads()


def _has_convolution(problem: Problem) -> bool:
    return any(isinstance(m, nn.modules.conv._ConvNd) for m in problem.model.modules())


def split(problem: Problem, generator: torch.Generator) -> tuple[Problem, tuple[Batch, ...]]:
    """What to train on, and what to score on: the test data, or a fifth of the data."""
    if problem.test_batches:
        return problem, problem.test_batches
    held_out, rest = drawn(problem.batches, max(1, problem.num_samples // 5), generator)
    if not rest:
        raise ProblemError(
            "the data are one sample, or one batch that cannot be divided, so that nothing can be "
            "held out for the trials; give more, or Problem(..., test=...)"
        )
    return problem.with_data(rest), held_out


def has_batch_norm(model: nn.Module) -> bool:
    """Whether a module normalises by the statistics of a minibatch."""
    norms = nn.modules.batchnorm._BatchNorm
    return any(isinstance(module, norms) for module in model.modules())


def leaves_one(num_samples: int, batch_size: int) -> bool:
    """Whether an epoch in minibatches of that size ends with a single sample."""
    return batch_size > 1 and num_samples % batch_size == 1


def without_leftover(batches: Iterator[Batch], model: nn.Module) -> Iterator[Batch]:
    """Leaves out a single sample at the end of an epoch where batch norm could not take it."""
    is_normalised = has_batch_norm(model)
    largest = 0
    for batch in batches:
        largest = max(largest, num_samples(batch))
        if not (is_normalised and num_samples(batch) == 1 < largest):
            yield batch


def born(problem: Problem, batch: Batch) -> str:
    """The place where a loss that is not finite was born, in words."""
    model = problem.model
    call = call_of(batch, model)
    with torch.no_grad():
        place = birthplace(
            model, dict(model.named_parameters()), batch, lambda: model(*call.args, **call.kwargs)
        )
    return place or "the loss itself"


def described(error: Exception) -> str:
    """An exception in a line; thalweg's own are sentences already."""
    if isinstance(error, ThalwegError):
        return str(error)
    first = str(error).strip().splitlines()
    return f"{type(error).__name__}{f': {first[0]}' if first else ''}"
