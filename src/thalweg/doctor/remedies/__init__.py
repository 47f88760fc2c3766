"""Remedies: functions from problem to problem, with the source edit they amount to."""

from thalweg.doctor.remedies._choice import ANSWERS, any_remedy, remedies_for
from thalweg.doctor.remedies._learning_rate import slower
from thalweg.doctor.remedies._remedy import NotApplicable, Remedy, joined, names_in

__all__ = [
    "ANSWERS",
    "NotApplicable",
    "Remedy",
    "any_remedy",
    "joined",
    "names_in",
    "remedies_for",
    "slower",
]
