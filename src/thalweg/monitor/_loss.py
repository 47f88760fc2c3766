"""The loss of the step."""

from __future__ import annotations

from collections.abc import Mapping

from thalweg.monitor._moment import Moment


class Loss:
    """L on the batch of the step, before it: `loss` [loss].

    Cost: none where the value was seen; else the loss function on the output of the training.
    """

    name, guess, is_paired, needs_before = "loss", 0.0, False, False

    def read(self, moment: Moment) -> Mapping[str, float]:
        """The loss, as the training computed it."""
        return {} if moment.value is None else {"loss": moment.value}
