"""ClosureContender: an optimizer that evaluates a closure with `backward`, on all data."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from thalweg.race._course import Course
from thalweg.race._trial import Setting
from thalweg.race.contenders._contender import Contender


class ClosureContender(Contender):
    """An optimizer whose step calls a closure as often as it likes, as torch's L-BFGS does.

    It is given all training data at each step, since it compares losses: on minibatches that
    change under it such methods break down.

    Args:
        said: what it is, in a few words.
        make: from parameters and a setting to the optimizer.
        settings: what it may be tried with, the usual first.
        package: that it needs.
        note: what a reader of the result should know of it.
    """

    def __init__(
        self,
        said: str,
        make: Callable[..., torch.optim.Optimizer],
        settings: Sequence[Setting],
        *,
        package: str = "",
        note: str = "",
    ) -> None:
        super().__init__(said, settings, package=package, note=note)
        self._make = make

    def run(self, course: Course, setting: Setting) -> None:
        """Steps with the closure, until a step no longer moves the parameters.

        Args:
            course: the loss and the data.
            setting: one of `settings`.
        """
        course.take_all()
        optimizer = self._make(course.params, **setting)
        before = [p.detach().clone() for p in course.params]
        for _ in course.steps():
            optimizer.step(lambda: float(course.gradient()))
            with course.aside():
                if all(torch.equal(p, b) for p, b in zip(course.params, before, strict=True)):
                    return
                before = [p.detach().clone() for p in course.params]
