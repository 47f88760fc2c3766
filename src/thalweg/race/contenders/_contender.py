"""Contender: a method that can enter a race, with the settings that it may be tried with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any

import torch

from thalweg.race._course import Course
from thalweg.race._trial import Setting

Make = Callable[..., torch.optim.Optimizer | Sequence[torch.optim.Optimizer]]
"""Parameters and a setting in, one optimizer out, or several that share the parameters."""


class Contender(ABC):
    """A method that can enter a race.

    Args:
        said: what it is, in a few words.
        settings: what it may be tried with, the usual first and then away from it.
        package: that it needs, and that may be missing.
        note: what a reader of the result should know of it.
    """

    def __init__(
        self, said: str, settings: Sequence[Setting], *, package: str = "", note: str = ""
    ) -> None:
        self.said = said
        self.settings = tuple(settings)
        self.package = package
        self.note = note

    @property
    def missing(self) -> str:
        """Why it cannot be entered here, and what to install; "" where it can."""
        module = self.package.replace("-", "_")
        module = {"pytorch_minimize": "torchmin"}.get(module, module)
        if not self.package or find_spec(module) is not None:
            return ""
        return (
            f"the package {self.package} is not installed; pip install 'thalweg[compare-peers]', "
            f"or pip install {self.package}"
        )

    @abstractmethod
    def run(self, course: Course, setting: Setting) -> None:
        """Takes steps on a course until it ends the run, by an exception or the end of `steps`.

        Args:
            course: the loss and the data, counted and timed.
            setting: one of `settings`.
        """


def grid(name: str, values: Sequence[float], **fixed: Any) -> tuple[Setting, ...]:
    """One setting for each value of one argument, with others fixed."""
    return tuple({name: value, **fixed} for value in values)
