"""Ledger: what an examination measured at what cost, left out, and took for granted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import inf
from time import perf_counter

from thalweg._budget import Budget
from thalweg._omission import Omission
from thalweg._progress import Progress
from thalweg.doctor._examination import Measurement
from thalweg.doctor._finding import Suspicion


@dataclass
class Ledger:
    """Written while an examination is under way.

    Args:
        progress: told what is being done.
        budget: what may be spent, from the making of the ledger on.
        is_interrupted: whether Ctrl-C ended the trials.
    """

    progress: Progress
    budget: Budget
    start: float = field(default_factory=perf_counter)
    measurements: list[Measurement] = field(default_factory=list)
    omissions: list[Omission] = field(default_factory=list)
    assumptions: list[str] = field(default_factory=list)
    suspicions: list[Suspicion] = field(default_factory=list)
    is_interrupted: bool = False
    _open: list[float] = field(default_factory=list)

    @property
    def seconds_left(self) -> float:
        """Of a budget in seconds; inf for one in gradients, whose plan no clock may change."""
        if not self.budget.is_seconds:
            return inf
        return self.start + self.budget.amount - perf_counter()

    @property
    def gradients_left(self) -> float:
        """Of a budget in gradients; inf for one in seconds."""
        if self.budget.is_seconds:
            return inf
        spent = sum(each.gradients for each in self.measurements) + sum(self._open)
        return self.budget.amount - spent

    def spend(self, gradients: float) -> None:
        """Counts gradients over all data towards what is being measured."""
        self._open.append(gradients)

    @contextmanager
    def measuring(self, name: str, share: float) -> Iterator[list[float]]:
        """Times its body; the body appends the gradients that it spent.

        Args:
            name: what is measured.
            share: of the whole examination that is behind when it begins.
        """
        self.progress(name, share)
        start, gradients = perf_counter(), list[float]()
        self._open = gradients
        yield gradients
        self._open = []
        self.measurements.append(Measurement(name, sum(gradients), perf_counter() - start))

    def omit(self, name: str, reason: str) -> None:
        """Notes what was not measured, and why."""
        self.omissions.append(Omission(name, reason))

    def assume(self, sentence: str) -> None:
        """Notes what was taken for granted."""
        self.assumptions.append(sentence)

    def suspect(self, suspicion: Suspicion, share: float) -> None:
        """Tells a suspicion as soon as there is one.

        Args:
            suspicion: what is suspected.
            share: of the whole examination that is behind.
        """
        self.suspicions.append(suspicion)
        self.progress(
            f"after {suspicion.named_after} steps suspected, {suspicion.probability:.0%} likely: "
            f"{suspicion.ailment.value}",
            share,
        )
