"""Examination: what was found, tried and measured on a network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch

from thalweg._budget import Budget
from thalweg._omission import Omission
from thalweg._problem import Problem
from thalweg._untold import UNTOLD
from thalweg.curvature import CriticalPoint
from thalweg.doctor._finding import Finding, Suspicion
from thalweg.doctor._trial import Run
from thalweg.report import Page, PagedResult
from thalweg.signal import Signal


@dataclass(frozen=True)
class Gain:
    """A paired comparison of held-out losses: control minus remedied, seed by seed.

    A control run that diverges counts at the loss it began with, or at a blind answer's.

    Args:
        mean: of the differences [loss]; inf where the control breaks down and the remedy is proved.
        low: lower end of the one-sided confidence interval, at 95 % for all finalists together: by
            Student's t of the differences, or the least between any run without and any with,
            whichever is higher; both share the risk.
        is_proved: whether `low` is above zero and the mean above 2 % of the control's loss.
    """

    mean: float
    low: float
    is_proved: bool


@dataclass(frozen=True)
class TriedRemedy:
    """A remedy and what became of it.

    Args:
        name: what it is.
        code: the source edit that it amounts to.
        screening: the short run, on a seed of its own, that decided whether it went on; None where
            it could not be run.
        runs: full runs, one a seed, with the seeds and data order of the control; empty where it
            dropped out before.
        gain: against the control, None without full runs.
        outcome: in words.
        apply: makes the change on a problem whose model is its own: `problem.copied()`.
    """

    name: str
    code: str
    screening: Run | None
    runs: tuple[Run, ...]
    gain: Gain | None
    outcome: str
    apply: Callable[[Problem, torch.Generator], Problem] = field(metadata=UNTOLD)

    @property
    def is_proved(self) -> bool:
        """Whether it is proved to help."""
        return self.gain is not None and self.gain.is_proved


@dataclass(frozen=True)
class Measurement:
    """What one part of an examination cost.

    Args:
        name: what was measured.
        gradients: gradients over all data, or their equivalent.
        seconds: wall time.
    """

    name: str
    gradients: float
    seconds: float


@dataclass(frozen=True)
class Examination(PagedResult):
    """What was found, tried and measured on a network.

    Args:
        title: the problem's name.
        num_parameters: trainable parameters examined.
        num_samples: samples of the training data.
        loss: L at the point handed over [loss].
        findings: what is wrong, causes first; empty for a healthy network.
        remedies: what was tried, the best proved one first.
        control: runs of the network as it is.
        signal: how scale and gradient run with depth.
        card: what kind of place the point is, None where it was not measured.
        constant_loss: the loss of the best constant answer, None where not known.
        num_steps: optimizer steps of a full trial.
        batch_size: samples a step.
        optimizer: the optimizer in use or assumed, in words.
        measurements: what each part cost.
        omissions: what was not measured or not tried, and why.
        assumptions: what was taken for granted, in sentences.
        seed: that everything random was drawn from.
        budget: what could be spent.
        machine: versions, device, dtype and threads, in words.
        is_partial: whether Ctrl-C ended the trials.
        suspicions: what was named after the first epoch, to be confirmed or cleared by the rest of
            the training, empty where that epoch settled it; and what is odd in a training that
            learns, of which no remedy is proved.
        learned: share of what simple learners find in the data that the watched training learned:
            0 like an answer that ignores the input, 1 like theirs; None where it was not told.
        num_watched: steps of that training.
        is_learning: whether that is half at least, or was on its way there.
        begun_at: step of the watched training that all trials go on from, in data orders of their
            own; 0 where they begin with the network as it was handed over.
    """

    schema = "thalweg/examination/1"
    _also = ("is_healthy",)

    title: str
    num_parameters: int
    num_samples: int
    loss: float
    findings: tuple[Finding, ...]
    remedies: tuple[TriedRemedy, ...]
    control: tuple[Run, ...]
    signal: Signal
    card: CriticalPoint | None
    constant_loss: float | None
    num_steps: int
    batch_size: int
    optimizer: str
    measurements: tuple[Measurement, ...]
    omissions: tuple[Omission, ...]
    assumptions: tuple[str, ...]
    seed: int
    budget: Budget
    machine: str
    is_partial: bool = False
    suspicions: tuple[Suspicion, ...] = ()
    learned: float | None = None
    num_watched: int = 0
    is_learning: bool = True
    begun_at: int = 0

    @property
    def stretch(self) -> str:
        """What a full trial is, in words."""
        steps = f"{self.num_steps} steps"
        return f"{steps} from step {self.begun_at} on" if self.begun_at else steps

    @property
    def is_healthy(self) -> bool:
        """Whether nothing was found; see `is_learning` for whether that is good news."""
        return not self.findings

    @property
    def proved(self) -> tuple[TriedRemedy, ...]:
        """The remedies that are proved to help, the best first."""
        return tuple(remedy for remedy in self.remedies if remedy.is_proved)

    def page(self) -> Page:
        """The examination as a page: verdict first, then evidence, then cost and doubt."""
        from thalweg.doctor._page import page_of

        return page_of(self)

    def __str__(self) -> str:
        return self.page().text()
