"""Reader: evaluates the model that is being trained, and leaves no trace in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._batch import Batch, map_tensors
from thalweg._errors import RandomModelError, ThalwegError
from thalweg._problem import Problem
from thalweg._ranks import ALONE, Alone
from thalweg._reading import reading
from thalweg.surface import Point, Surface


class Reader:
    """Losses at other parameters, and the curvature on a batch that stays the same.

    Args:
        model: eager and undistributed.
        loss: as a `Problem` takes it.
        parameters: those that the optimizer has, by name.
        data: what curvature is read on; the first batch that is seen where there is none.
        ranks: over which these data are spread, each with its share.
    """

    def __init__(
        self,
        model: nn.Module,
        loss: Any,
        parameters: Mapping[str, nn.Parameter],
        data: Any = None,
        ranks: Alone = ALONE,
    ) -> None:
        self.model, self.loss, self._parameters, self._data = model, loss, parameters, data
        self._ranks = ranks
        self._problem: Problem | None = None
        self._surface: Surface | None = None
        self._state: tuple[object, ...] = ()
        self.notes: list[str] = []

    def see(self, batch: Batch) -> None:
        """Remembers the first batch, where no data were given."""
        if self._data is None:
            self._data = [map_tensors(batch, lambda t: t.detach().clone())]

    def loss_at(self, params: Mapping[str, Tensor], batch: Batch) -> float:
        """L(θ) of a batch in the mode of the training [loss].

        What the model draws at random is the same at every call. Cost: 1/3 of a gradient.
        """
        problem = self._at_hand()
        with reading(), torch.no_grad():
            torch.manual_seed(0)
            return float(problem.forward(dict(params), self._here(batch)).loss)

    def loss_of(self, output: Any, batch: Batch) -> float:
        """The loss of what the model returned for a batch [loss]."""
        if isinstance(output, Tensor) and output.dtype.itemsize < 4:
            output = output.float()
        evaluation = self._at_hand().evaluate(lambda *_, **__: output, self._here(batch))
        return float(evaluation.loss)

    def point(self) -> Point:
        """Where the model is now, on the data of curvature: of all ranks together.

        Raises:
            ThalwegError: if there are no data, on any rank.
        """
        # Ranks make a new surface together or not at all: alone, one would wait for ever.
        if any(self._ranks.gather(self._is_outdated)):
            self._surface = self._new_surface()
        assert self._surface is not None, "it is there, or was made anew"
        return self._surface.here()

    def _is_outdated(self) -> bool:
        self._at_hand()
        if self._data is None:
            raise ThalwegError(
                "no batch was seen: call monitor.see(batch) in the loop, or give "
                "Monitor(..., data=batch)"
            )
        return self._surface is None

    def _new_surface(self) -> Surface:
        problem = self._ranks.together(self._on_data)
        if not self._ranks.is_alone:
            problem = problem.across_ranks()
        names = [name for name, p in self._parameters.items() if p.requires_grad]
        try:
            return Surface(problem, names)
        except RandomModelError:
            self._note("curvature is read in evaluation mode: the model is random in training")
            return Surface(problem.in_eval_mode(), names)

    def _on_data(self) -> Problem:
        given = Problem(self.model, self.loss, self._data)
        return given.with_data([self._here(batch) for batch in given.batches])

    def _at_hand(self) -> Problem:
        """The problem, made anew where the model has changed its mode or its place."""
        first = next(self.model.parameters())
        state: tuple[object, ...] = (first.device, first.dtype, self.model.training)
        state = (*state, *(p.requires_grad for p in self._parameters.values()))
        state = (*state, *(id(buffer) for buffer in self.model.buffers()))
        if self._problem is None or state != self._state:
            self._problem = Problem(self.model, self.loss, self._data)
            self._surface, self._state = None, state
        return self._problem

    def _here(self, batch: Batch) -> Batch:
        """A batch where the parameters are, and of their precision."""
        first = next(self.model.parameters())

        def move(tensor: Tensor) -> Tensor:
            dtype = first.dtype if tensor.is_floating_point() else tensor.dtype
            return tensor.detach().to(first.device, dtype)

        return map_tensors(batch, move)

    def _note(self, sentence: str) -> None:
        if sentence not in self.notes:
            self.notes.append(sentence)
