"""The loss of a problem on its live model, as an objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from thalweg._batch import Batch, call_of, map_tensors, tensors_in
from thalweg._evaluation import Evaluation
from thalweg._loss import known_loss
from thalweg._problem import Problem
from thalweg._reading import unwrapped
from thalweg.optim._objective import Objective


class ProblemObjective(Objective):
    """The loss of a problem, on the model itself: in its mode, with its hooks.

    The model's buffers move once, by the forward pass of the gradient, as in any training step;
    what is evaluated besides leaves them as they were.

    Args:
        problem: model, loss and data; its ranks share the data.
        params: the optimizer's parameters.
        sign: −1 to maximise.
        is_taped: as of `Objective`.
    """

    def __init__(
        self,
        problem: Problem,
        params: Sequence[Tensor],
        sign: float,
        *,
        is_taped: bool = True,
    ) -> None:
        super().__init__(params, problem.batches, problem.ranks, is_taped=is_taped)
        self.problem = problem
        self._model = unwrapped(problem.model)
        self._sign = sign
        known = known_loss(problem.loss)
        self._is_widened = known is not None and known.weight is None

    @property
    def is_negated(self) -> bool:
        """Whether the loss is maximised."""
        return self._sign < 0

    def forward(self, batch: Batch) -> Evaluation:
        """A pass through the live model."""
        return self._signed(self.problem.evaluate(self._model, batch))

    def read(self, batch: Batch) -> Evaluation:
        """A pass whose loss is taken in float64 at once, where `loss_of` would take it anew."""
        target = call_of(batch, self._model).target
        if not self._is_widened or not isinstance(target, Tensor) or target.is_floating_point():
            return self.forward(batch)

        def run(*args: Any, **kwargs: Any) -> Any:
            output = self._model(*args, **kwargs)
            is_real = isinstance(output, Tensor) and output.is_floating_point()
            return output.double() if is_real else output

        return self._signed(self.problem.evaluate(run, batch))

    def _signed(self, evaluation: Evaluation) -> Evaluation:
        if self._sign < 0:
            return Evaluation(-evaluation.loss, evaluation.output)
        return evaluation

    def count(self, evaluation: Evaluation, batch: Batch) -> float:
        """By the problem's reduction; a single batch is taken as it is."""
        if self._is_single:
            return 1.0
        return self.problem.reduction.count(batch, evaluation.output)

    def joined(self, counts: Sequence[float]) -> tuple[float, ...]:
        """By loss terms, over all processes."""
        return (1.0,) if self._is_single else self.problem.reduction.weights(counts)

    def loss_of(self, evaluation: Evaluation, batch: Batch) -> float:
        """The loss of the batch; one of torch's is summed in float64 from the outputs as they are.

        Differences between losses decide on steps, and in float32 they drown in the rounding of
        the sum long before that of the outputs.
        """
        output = evaluation.logits
        if not self._is_widened or not isinstance(output, Tensor) or _is_wide(output):
            return float(evaluation.loss.detach())
        target = call_of(batch, self._model).target
        assert self.problem.loss is not None
        with torch.no_grad():
            return self._sign * float(self.problem.loss(*map_tensors((output, target), _widened)))

    def way_back(self) -> Callable[[], None]:
        """Puts the buffers back."""
        buffers = list(self._model.buffers())
        before = [buffer.detach().clone() for buffer in buffers]

        def back() -> None:
            for buffer, value in zip(buffers, before, strict=True):
                buffer.data.copy_(value)

        return back

    def versions(self) -> tuple[int, ...]:
        """Of the tensors of all batches."""
        return tuple(t._version for t in tensors_in(list(self.batches)) if not t.is_inference())

    @property
    def _is_single(self) -> bool:
        return self.ranks.is_alone and len(self.batches) == 1


def _is_wide(tensor: Tensor) -> bool:
    return tensor.dtype == torch.float64


def _widened(tensor: Tensor) -> Tensor:
    return tensor.detach().double() if tensor.is_floating_point() else tensor
