"""Events: what is looked out for on the way."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from thalweg._errors import ThalwegError


@dataclass(frozen=True, eq=False)
class Moment:
    """What an event may look at.

    Args:
        time: t [param²/loss].
        velocity: θ̇ = −∇L there [loss/param].
        sharpness: reads λ_max there [loss/param²].
    """

    time: float
    velocity: Float[Tensor, " n"]
    sharpness: Callable[[], float]


@dataclass(frozen=True)
class Occurrence:
    """An event that happened.

    Args:
        said: the event in words.
        time: when [param²/loss].
        is_upwards: whether the quantity was growing.
        ended_flow: whether the flow ended there.
    """

    said: str
    time: float
    is_upwards: bool
    ended_flow: bool


@dataclass(frozen=True)
class Event(ABC):
    """Something that happens where a quantity goes through zero."""

    @property
    @abstractmethod
    def said(self) -> str:
        """The event in words."""

    @property
    def ends_flow(self) -> bool:
        """Whether the flow ends there."""
        return False

    @property
    def reads_sharpness(self) -> bool:
        """Whether it is looked at where λ_max was read, or at every step."""
        return False

    @abstractmethod
    def quantity(self, moment: Moment) -> float:
        """What goes through zero."""


@dataclass(frozen=True)
class GradientBelow(Event):
    """‖∇L‖ falls to a bound; ends the flow.

    Args:
        norm: the bound [loss/param].

    Raises:
        ThalwegError: if it is not positive.

    Example:
        >>> GradientBelow(1e-3).said
        '‖∇L‖ = 0.001'
    """

    norm: float

    def __post_init__(self) -> None:
        if not self.norm > 0:
            raise ThalwegError(f"GradientBelow({self.norm}); give a positive norm")

    @property
    def said(self) -> str:
        """The event in words."""
        return f"‖∇L‖ = {self.norm:g}"

    @property
    def ends_flow(self) -> bool:
        """It does."""
        return True

    def quantity(self, moment: Moment) -> float:
        """‖θ̇‖ − bound."""
        return float(torch.linalg.vector_norm(moment.velocity)) - self.norm


@dataclass(frozen=True)
class SharpnessCrosses(Event):
    """λ_max goes through 2/lr, above which gradient descent with that step is unstable.

    Args:
        lr: the learning rate [param²/loss].

    Raises:
        ThalwegError: if it is not positive.

    Example:
        >>> SharpnessCrosses(0.1).limit
        20.0

    Source: Cohen et al. 2021, "Gradient descent on neural networks typically occurs at the edge of
    stability".
    """

    lr: float

    def __post_init__(self) -> None:
        if not self.lr > 0:
            raise ThalwegError(f"SharpnessCrosses({self.lr}); give a positive learning rate")

    @property
    def limit(self) -> float:
        """2/lr [loss/param²]."""
        return 2 / self.lr

    @property
    def said(self) -> str:
        """The event in words."""
        return f"λ_max = 2/lr = {self.limit:.4g}"

    @property
    def reads_sharpness(self) -> bool:
        """It does."""
        return True

    def quantity(self, moment: Moment) -> float:
        """λ_max − 2/lr."""
        return moment.sharpness() - self.limit
