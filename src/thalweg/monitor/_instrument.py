"""Instrument: one thing that is read while somebody trains; and the sets of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from torch import nn

from thalweg.monitor._moment import Moment


@runtime_checkable
class Instrument(Protocol):
    """Reads some numbers at a step; has a life of one run.

    It may also be `Watching`: see the forward pass of the steps that it reads.

    Attributes:
        name: in a word or two.
        guess: gradients that a reading costs, as long as none was measured; below 1 it is taken at
            every reading, otherwise when there is time for it.
        is_paired: whether it looks at the step before the one that it reads, too.
        needs_before: whether it looks at the parameters before the step.
    """

    name: str
    guess: float
    is_paired: bool
    needs_before: bool

    def read(self, moment: Moment) -> Mapping[str, float]:
        """Numbers by name, `quantity` or `quantity/layer`.

        Args:
            moment: the step; it may be kept no longer than the call.
        """
        ...


ForwardHook = Callable[[nn.Module, Any, Any], None]
"""Takes the module, what it received and what it returned; changes nothing."""


@runtime_checkable
class Watching(Protocol):
    """An instrument that watches modules in the forward pass of a step that it reads."""

    def hooks(self, model: nn.Module) -> list[tuple[nn.Module, ForwardHook]]:
        """Which modules, and what is to be called after them; the monitor puts them on and off.

        Args:
            model: eager and undistributed.
        """
        ...


@dataclass(frozen=True)
class Instruments:
    """A set of instruments and the time that it asks for.

    Attributes:
        name: of the set.
        members: the instruments, in the order of reading.
        overhead: the share of the training's time that they may take by default.
    """

    name: str
    members: tuple[Instrument, ...]
    overhead: float
