"""Judge: what a model is worth, read on the same data for all contenders."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from thalweg._batch import Batch, num_samples
from thalweg._problem import Problem
from thalweg._reading import differentiating
from thalweg._sampling import drawn
from thalweg._score import Score, score

MOST_MEASURED = 4096
"""Samples of either kind on which a run is read; of more, so many are drawn."""


class Judge:
    """Reads the loss of the training data and the score of the held-out ones.

    Args:
        training: the problem that is trained.
        held_out: batches set apart; none where nothing is.
        seed: of the draw where there are more samples than are measured.
    """

    def __init__(self, training: Problem, held_out: Sequence[Batch], seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.reduction = training.reduction
        self.measured = _some(training.batches, generator)
        self.held_out = _some(held_out, generator)

    @property
    def num_measured(self) -> int:
        """Training samples that the loss is read on."""
        return sum(map(num_samples, self.measured))

    def __call__(self, problem: Problem) -> tuple[float, Score | None]:
        """Training loss and held-out score of a problem's model, in evaluation mode."""
        with differentiating():
            loss = score(problem, self.measured, self.reduction).loss
            held_out = score(problem, self.held_out, self.reduction) if self.held_out else None
        return loss, held_out


def _some(batches: Sequence[Batch], generator: torch.Generator) -> tuple[Batch, ...]:
    if sum(map(num_samples, batches)) <= MOST_MEASURED:
        return tuple(batches)
    return drawn(batches, MOST_MEASURED, generator)[0]
