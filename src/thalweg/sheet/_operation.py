"""Operation: a value and the derivative towards each input, side by side."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import Enum

from torch import Tensor

from thalweg.symbolic import Label


class Form(Enum):
    """How the gradient δ of an output goes back to an input through the local derivative J."""

    EACH = "entry by entry"
    """δ ⊙ J, summed where the input was spread over several entries."""
    WHOLE = "of a number"
    """δ J: the output is one number, J has the input's shape."""
    JACOBIAN = "by the Jacobian"
    """Jᵀ δ."""
    FACTOR = "by the other factor"
    """A product: J is the other factor, and the operation's rule says on which side."""


class Operation(ABC):
    """One operation of a worked pass.

    Everything is worked out by the rules written down here; `peer` computes the same value with
    torch's own function, through which autograd proves the rules.
    """

    title: str
    """What it is called in a sentence."""

    may_mask = False
    """Whether it may give −∞, which a softmax leaves out."""

    @abstractmethod
    def value(self, *inputs: Tensor) -> Tensor:
        """The value, by its formula."""

    @abstractmethod
    def peer(self, *inputs: Tensor) -> Tensor:
        """The value, by torch."""

    @abstractmethod
    def local(self, slot: int, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """The local derivative J towards an input, as `form` of it says."""

    def form(self, slot: int) -> Form:
        """How the local derivative towards an input is applied."""
        return Form.EACH

    def pull(self, slot: int, delta: Tensor, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        """What the output's gradient δ contributes to that of an input."""
        local = self.local(slot, inputs, output)
        match self.form(slot):
            case Form.EACH:
                return (delta * local).sum_to_size(inputs[slot].shape)
            case Form.WHOLE:
                return delta.reshape(()) * local
            case Form.JACOBIAN:
                return (local.T @ delta.reshape(-1)).reshape(inputs[slot].shape)
        raise NotImplementedError(f"{self.title} has a rule of its own")

    @abstractmethod
    def formula(self) -> Label:
        """The operation, with $a, $b for its inputs."""

    @abstractmethod
    def local_formula(self, slot: int) -> Label:
        """The local derivative, with $a, $b for the inputs and $y for the output."""

    def rule(self, slot: int) -> Label | None:
        """How δ, $d, goes back where `form` does not say it."""
        return None

    def kink(self, inputs: tuple[Tensor, ...]) -> str:
        """What is to be said where the derivative does not exist; "" where it does."""
        return ""
