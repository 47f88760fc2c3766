"""Remedy: a change to a problem that may heal it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from thalweg._problem import Problem
from thalweg.doctor._marks import Marks
from thalweg.doctor._readings import Readings


@dataclass(frozen=True)
class Remedy:
    """A change to a problem.

    Args:
        name: what it is, in words.
        code: the source edit that it amounts to.
        apply: changes a problem whose model is its own; draws from the generator.
        changes_step: whether it changes the learning rate, the optimizer or its minibatches.
        changes_loss: whether losses with and without it are in different units, so that each is
            compared as a share of the loss of the best constant answer.
        changes_inputs: whether other inputs are fitted with it, so that fitting them less closely
            is no less training.
        is_direct: whether it takes away the very cause that was found: it is tried before others,
            and they are not tried where it is proved.
        num_samples: that a training took to find it.
        rivals: what may do the same better. They are tried where it is proved, on what is left of
            the budget.
        thorough: what takes the cause away more thoroughly, at a price. It is tried in its place
            where the first run with it breaks down, or does not train.
        begun: of the training with it, on the seed that was watched, by which it was confirmed.
        parts: that were joined to it.
        is_of_doubt: whether it answers what needs a proof, where other findings do not.
    """

    name: str
    code: str
    apply: Callable[[Problem, torch.Generator], Problem]
    changes_step: bool = False
    changes_loss: bool = False
    changes_inputs: bool = False
    is_direct: bool = False
    num_samples: int = 0
    rivals: tuple[Remedy, ...] = ()
    thorough: Remedy | None = None
    begun: Marks | None = field(default=None, compare=False, repr=False)
    parts: tuple[Remedy, ...] = ()
    is_of_doubt: bool = False

    @property
    def keeps_network(self) -> bool:
        """Whether the step alone is changed, so that a training can be gone on with under it."""
        return self.changes_step and all(part.keeps_network for part in self.parts)


@dataclass(frozen=True)
class NotApplicable:
    """A remedy that cannot be tried on this network.

    Args:
        name: what it would have been.
        reason: why not.
    """

    name: str
    reason: str


Proposal = Callable[[Readings], Remedy | NotApplicable]


def applicable(*proposed: Remedy | NotApplicable) -> tuple[Remedy, ...]:
    """Those that can be tried."""
    return tuple(each for each in proposed if isinstance(each, Remedy))


def names_in(remedy: Remedy) -> frozenset[str]:
    """The name of a remedy, or of each that was joined to it."""
    parts = (names_in(part) for part in remedy.parts)
    return frozenset({remedy.name}).union(*parts)


def joined(first: Remedy, second: Remedy) -> Remedy:
    """Both changes, one after the other, as one remedy without rivals."""
    return Remedy(
        f"{first.name}, {second.name}",
        f"{first.code}\n{second.code}",
        lambda problem, generator: second.apply(first.apply(problem, generator), generator),
        changes_step=first.changes_step or second.changes_step,
        changes_loss=first.changes_loss or second.changes_loss,
        changes_inputs=first.changes_inputs or second.changes_inputs,
        is_direct=first.is_direct and second.is_direct,
        num_samples=first.num_samples + second.num_samples,
        parts=(first, second),
    )
