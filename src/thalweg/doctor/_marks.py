"""Marks: places along a training from which a trial of the same recipe and seed goes on."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from thalweg._problem import Problem
from thalweg._reading import RandomState
from thalweg._training import has_batch_norm

FIRST, APART = 10, 1.1
"""Steps before the first mark, and the factor from one to the next: a trial that goes on from the
last before its end repeats less than a tenth of what was trained already."""

SETTLING = 10
"""Last steps of a trial over which batch normalisation averages what it evaluates with."""

MOST_BYTES = 2**28
"""That the marks of one training may hold; after that no more are made."""


@dataclass(frozen=True)
class Mark:
    """A training after some steps, with all that decides how it goes on.

    Args:
        losses: of each minibatch until then.
        tensors: parameters and buffers.
        gradients: of the parameters, which a step that does not clear them goes on from.
        optimizer: its `state_dict`.
        random: the global random states.
        batch_size: samples a step.
    """

    losses: tuple[float, ...]
    tensors: dict[str, Tensor]
    gradients: dict[str, Tensor]
    optimizer: dict[str, Any]
    random: RandomState
    batch_size: int

    @property
    def num_steps(self) -> int:
        """Steps taken until then."""
        return len(self.losses)

    def put_on(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Makes a model and its optimizer, as they were before these steps, what they became."""
        optimizer.load_state_dict(deepcopy(self.optimizer))
        self._put_on(model)

    def hand_on(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Hands what was learned on, and what was gathered to an optimizer with the same settings.

        Another begins afresh: what the fault has gathered is not its own. A schedule must have
        passed these steps by then.
        """
        settings = [_settings(group) for group in self.optimizer["param_groups"]]
        if settings == [_settings(group) for group in optimizer.state_dict()["param_groups"]]:
            optimizer.load_state_dict(deepcopy(self.optimizer))
        self._put_on(model)

    def _put_on(self, model: nn.Module) -> None:
        with torch.no_grad():
            for name, tensor in _tensors(model).items():
                tensor.copy_(self.tensors[name])
            for name, parameter in model.named_parameters():
                gradient = self.gradients.get(name)
                parameter.grad = None if gradient is None else gradient.clone()


class Marks:
    """The marks of one training, made as it goes along.

    None are made where the state is not known to be whole: an optimizer or a schedule that is not
    torch's own.

    Args:
        problem: that is trained; its own model.
        optimizer: that trains it.
        batch_size: samples a step.
        is_whole: whether what its schedule will do is known from how many steps were taken.
    """

    def __init__(
        self,
        problem: Problem,
        optimizer: torch.optim.Optimizer,
        batch_size: int,
        is_whole: bool = True,
    ) -> None:
        self.model, self.optimizer, self.batch_size = problem.model, optimizer, batch_size
        self.kept: list[Mark] = []
        self.num_bytes = 0
        is_own = type(optimizer).__module__.startswith("torch.optim.")
        # Statistics of batch normalisation are gathered anew over the last steps of a trial.
        self.settling = SETTLING if has_batch_norm(self.model) else 0
        self._next: float = FIRST if is_own and is_whole else float("inf")

    def pass_by(self, losses: Sequence[float]) -> None:
        """Makes a mark after these steps, where one is due."""
        if len(losses) < self._next:
            return
        self._next = max(self._next + 1, self._next * APART)
        self.num_bytes += _bytes_of(self.model, self.optimizer)
        if self.num_bytes > MOST_BYTES:
            self._next = float("inf")
            return
        mark = Mark(
            tuple(losses),
            {name: tensor.detach().clone() for name, tensor in _tensors(self.model).items()},
            {
                name: parameter.grad.detach().clone()
                for name, parameter in self.model.named_parameters()
                if parameter.grad is not None
            },
            deepcopy(self.optimizer.state_dict()),
            RandomState.now(),
            self.batch_size,
        )
        self.kept.append(mark)

    def before(self, num_steps: float) -> Mark | None:
        """The last that a trial of so many steps can go on from, None where there is none."""
        within = num_steps - self.settling
        return next((m for m in reversed(self.kept) if m.num_steps <= within), None)

    def within(self, num_steps: float) -> int:
        """Steps that a trial of so many need not take."""
        mark = self.before(num_steps)
        return 0 if mark is None else mark.num_steps


def _settings(group: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in group.items() if key != "params"}


def _bytes_of(model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    """What a mark of them holds; asked before anything is copied."""
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    states = [value for state in optimizer.state.values() for value in state.values()]
    every = (*_tensors(model).values(), *gradients, *states)
    return sum(each.nbytes for each in every if isinstance(each, Tensor))


def _tensors(model: nn.Module) -> dict[str, Tensor]:
    return dict(model.named_parameters()) | dict(model.named_buffers())
