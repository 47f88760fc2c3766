"""Signal along time: how scale and gradient run through the steps of a recurrent layer."""

from __future__ import annotations

from dataclasses import dataclass

from thalweg.passes import StepPass, TimePass
from thalweg.signal._depth import Trend, trend


@dataclass(frozen=True)
class TimeSignal:
    """The run of scale and gradient through the steps of a recurrent layer.

    Args:
        name: the layer.
        kind: its class.
        steps: in the order of time.
        gradient: trend of ‖∂L/∂h_t‖, from one step to the step before it; None for fewer than
            three steps, or where one is zero.
        scale: trend of the hidden state's scale, likewise.
    """

    name: str
    kind: str
    steps: tuple[StepPass, ...]
    gradient: Trend | None
    scale: Trend | None

    @classmethod
    def of(cls, passed: TimePass) -> TimeSignal:
        """The signal of a recurrent layer that was read along time.

        Source: Pascanu, Mikolov, Bengio 2013: the factor of the gradient per step is the gain of
        the recurrent matrix and its slopes; below 1 what is far back is forgotten.

        Example:
            >>> import torch, thalweg
            >>> from torch import nn
            >>> from thalweg.passes import along_time
            >>> class Last(nn.Module):
            ...     def __init__(self):
            ...         super().__init__()
            ...         self.rnn = nn.RNN(1, 2, bias=False)
            ...         _ = nn.init.zeros_(self.rnn.weight_ih_l0)
            ...         self.rnn.weight_hh_l0.data = 0.5 * torch.eye(2)
            ...     def forward(self, x):
            ...         return self.rnn(x)[0][-1]
            >>> data = (torch.ones(6, 4, 1), torch.ones(4, 2))
            >>> problem = thalweg.Problem(Last(), nn.functional.mse_loss, data)
            >>> (found,) = along_time(problem)
            >>> round(TimeSignal.of(found).gradient.factor, 6)
            0.5
        """
        return cls(
            name=passed.name,
            kind=passed.kind,
            steps=passed.steps,
            gradient=trend([step.gradient_norm for step in passed.steps]),
            scale=trend([step.scale for step in passed.steps]),
        )
