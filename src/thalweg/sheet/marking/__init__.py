"""Marking: a worked solution on a page, judged step by step."""

from thalweg.sheet.marking._check import CheckedSolution, check
from thalweg.sheet.marking._step import Slip, Step, Verdict

__all__ = ["CheckedSolution", "Slip", "Step", "Verdict", "check"]
