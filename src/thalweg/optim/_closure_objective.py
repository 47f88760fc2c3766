"""The loss that a closure returns, as an objective."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from thalweg._batch import Batch
from thalweg._errors import OptimizerError
from thalweg._evaluation import Evaluation
from thalweg.optim._objective import Local, Objective, detached, set_aside
from thalweg.surface import Curvature


class ClosureObjective(Objective):
    """The loss that a closure returns, without having called `backward`.

    Args:
        closure: evaluates the model and returns the loss as a scalar tensor with its graph.
        params: the optimizer's parameters.
        sign: −1 to maximise.
        is_taped: as of `Objective`.
    """

    def __init__(
        self,
        closure: Callable[[], Tensor],
        params: Sequence[Tensor],
        sign: float,
        *,
        is_taped: bool = True,
    ) -> None:
        super().__init__(params, (None,), is_taped=is_taped)
        self._closure = closure
        self._sign = sign

    def local(self, curvature: Curvature | None = None) -> Local:
        """As of `Objective`.

        Args:
            curvature: the Hessian, or None.

        Raises:
            OptimizerError: for another, which needs the model's output.
        """
        if curvature is not None and not curvature.is_hessian:
            raise OptimizerError(
                f"the {curvature.name} needs the model's output, which a closure does not show; "
                f"hand the loss over by bind(model, loss, (x, y)).step()"
            )
        return super().local(curvature)

    def forward(self, _: Batch) -> Evaluation:
        """The one loss; the model's output is not known."""
        with set_aside(self.params):
            loss = self._closure()
            called_backward = any(p.grad is not None for p in self.params)
        if called_backward:
            raise OptimizerError(
                "the closure calls backward(); this optimizer differentiates by itself, so give "
                "one that only returns the loss: step(lambda: loss(model(x), y))"
            )
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = tuple(loss.shape) if isinstance(loss, Tensor) else type(loss).__name__
            raise OptimizerError(
                f"the closure returned {found}; it must return the loss as a scalar tensor: "
                f"step(lambda: loss(model(x), y))"
            )
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise detached()
        return Evaluation(self._sign * loss.reshape(()), None)

    def loss_of(self, evaluation: Evaluation, _: Batch) -> float:
        """What the closure returned."""
        return float(evaluation.loss.detach())
