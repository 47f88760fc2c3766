"""Optimizers that look at the surface: they evaluate the loss, and each step leaves a record."""

from thalweg.optim._metric import Identity, Metric
from thalweg.optim._objective import ClosureObjective, Objective, ProblemObjective
from thalweg.optim._optimizer import Outcome, SurfaceOptimizer
from thalweg.optim._record import StepRecord
from thalweg.optim._recorded_optimizer import RecordedOptimizer
from thalweg.optim._saddle_free_newton import saddle_free_step
from thalweg.optim._subspace import Subspace, krylov_space, whole_space
from thalweg.optim._walk import Attempt, Proposal, Walk

__all__ = [
    "Attempt",
    "ClosureObjective",
    "Identity",
    "Metric",
    "Objective",
    "Outcome",
    "ProblemObjective",
    "Proposal",
    "RecordedOptimizer",
    "StepRecord",
    "Subspace",
    "SurfaceOptimizer",
    "Walk",
    "krylov_space",
    "saddle_free_step",
    "whole_space",
]
