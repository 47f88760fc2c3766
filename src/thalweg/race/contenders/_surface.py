"""SurfaceContender: an optimizer of thalweg's, which evaluates the loss and keeps records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from thalweg.race._course import Course
from thalweg.race._trial import Setting
from thalweg.race.contenders._contender import Contender

OF_BATCHES = ("batch_growth", "batch_most")
"""What of a setting is not the optimizer's."""


class SurfaceContender(Contender):
    """An optimizer of `thalweg.optim`: it is bound to the data of each step, and counts its work.

    A setting may hold `batch_growth`: minibatches then grow by that factor a step, up to the share
    `batch_most` of the data. All else of a setting goes to `make`.

    Args:
        said: what it is, in a few words.
        make: from parameters and a setting to the optimizer.
        settings: what it may be tried with, the usual first.
        note: what a reader of the result should know of it.
    """

    def __init__(
        self, said: str, make: Callable[..., Any], settings: Sequence[Setting], *, note: str = ""
    ) -> None:
        super().__init__(said, settings, note=note)
        self._make = make

    def run(self, course: Course, setting: Setting) -> None:
        """Binds and steps.

        Args:
            course: the loss and the data.
            setting: one of `settings`.
        """
        own = {name: value for name, value in setting.items() if name not in OF_BATCHES}
        optimizer = self._make(course.params, **own)
        course.optimizer = optimizer
        growth, most = (float(setting.get(name, 1.0)) for name in OF_BATCHES)
        for _ in course.steps(growth, most):
            optimizer.bind(course.here).step()
            record = optimizer.record
            course.spend(record.gradient_equivalents)
            course.records.append(record)
            course.seen(record.loss)
            if record.is_accepted and record.actual_decrease is not None:
                course.arrives_at(record.loss - record.actual_decrease)
