"""Remedy: a change to a problem that may heal it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from thalweg._problem import Problem
from thalweg.doctor._readings import Readings


@dataclass(frozen=True)
class Remedy:
    """A change to a problem.

    Args:
        name: what it is, in words.
        code: the source edit that it amounts to.
        apply: changes a problem whose model is its own; draws from the generator.
        changes_step: whether it changes the learning rate or the optimizer.
    """

    name: str
    code: str
    apply: Callable[[Problem, torch.Generator], Problem]
    changes_step: bool = False


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
