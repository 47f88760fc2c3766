"""What ails a training, and what helps: findings, remedies, trials, and the examination."""

from thalweg._budget import Budget
from thalweg._omission import Omission
from thalweg._progress import Progress
from thalweg._score import Score
from thalweg.doctor._examination import Examination, Gain, Measurement, TriedRemedy
from thalweg.doctor._examine import InterruptedExamination, examine
from thalweg.doctor._finding import Ailment, Finding, Suspicion
from thalweg.doctor._trial import Plan, Run

__all__ = [
    "Ailment",
    "Budget",
    "Examination",
    "Finding",
    "Gain",
    "InterruptedExamination",
    "Measurement",
    "Omission",
    "Plan",
    "Progress",
    "Run",
    "Score",
    "Suspicion",
    "TriedRemedy",
    "examine",
]
