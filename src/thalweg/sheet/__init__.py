"""What is put on paper: worked passes and checked solutions."""

from thalweg.sheet.marking import CheckedSolution, Slip, Step, Verdict, check

__all__ = ["CheckedSolution", "Slip", "Step", "Verdict", "check"]
